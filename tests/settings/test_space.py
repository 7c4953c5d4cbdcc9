"""Search spaces: every way to write one, every way to get it wrong, and what Optuna makes of it."""

import math

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaelab.data import from_arrays
from vaelab.errors import InputError
from vaelab.settings.dimension import Dimension
from vaelab.settings.space import Space, check_disjoint
from vaelab.vae.spec import Spec
from vaelab.vae.task import DEFAULT_RANGES, TASK


def refusal(make, *arguments):
    """The message of a refusal, which must be one readable line."""
    with pytest.raises(InputError) as caught:
        make(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def default_space():
    """What is searched by default in 64 features."""
    return TASK.default_space(from_arrays(np.random.default_rng(0).normal(size=(10, 64))), {}, lambda settings: True)


class Recorder:
    """A trial that writes down what it was asked and answers the first value."""

    def __init__(self):
        self.asked = []

    def suggest_int(self, name, low, high, *, log=False):
        assert type(low) is type(high) is int
        self.asked.append(("int", name, low, high, log))
        return low

    def suggest_float(self, name, low, high, *, log=False):
        assert type(low) is type(high) is float
        self.asked.append(("float", name, low, high, log))
        return low

    def suggest_categorical(self, name, choices):
        assert all(isinstance(choice, str | int | float) for choice in choices)
        self.asked.append(("choice", name, tuple(choices)))
        return choices[0]


SPELLINGS = [
    {"latent_dim": (1, 20), "lr": (1e-4, 1e-2, "log"), "optimizer": ["adam", "rmsprop", "sgd"]},
    {"latent_dim": "1..20", "lr": "1e-4..1e-2:log", "optimizer": "adam,rmsprop,sgd"},
    {
        "latent_dim": {"low": 1, "high": 20},
        "lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "optimizer": {"choices": ["adam", "rmsprop", "sgd"]},
    },
    {
        "latent_dim": (np.int64(1), np.int32(20)),
        "lr": (np.float64(1e-4), np.float64(1e-2), "log"),
        "optimizer": ["adam", "rmsprop", "sgd"],
    },
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_all_spellings_ask_the_same_of_a_trial(spelling):
    trial = Recorder()
    params = Space.parse(spelling, Spec).suggest(trial)
    assert trial.asked == [
        ("int", "latent_dim", 1, 20, False),
        ("float", "lr", 1e-4, 1e-2, True),
        ("choice", "optimizer", ("adam", "rmsprop", "sgd")),
    ]
    assert params == {"latent_dim": 1, "lr": 1e-4, "optimizer": "adam"}


def test_strings_and_toml_give_the_same_space(tmp_path):
    strings = Space.from_strings(
        [
            "latent_dim=1..20",
            "lr = 1e-4 .. 1e-2 : log",
            "optimizer=adam, rmsprop, sgd",
            "hidden=512-256,256-128",
            "dropout=0.1..0.3",
        ],
        Spec,
    )
    file = tmp_path / "space.toml"
    file.write_text(
        """
latent_dim = "1..20"
lr = {low = 1e-4, high = 1e-2, log = true}
optimizer = ["adam", "rmsprop", "sgd"]
hidden = ["512-256", [256, 128]]
[dropout]
low = 0.1
high = 0.3
"""
    )
    assert Space.from_toml(file, Spec) == strings == Space.from_toml(str(file), Spec)
    assert strings.names == ("latent_dim", "lr", "optimizer", "hidden", "dropout")


def test_hidden_widths_reach_optuna_as_text_and_spec_as_widths():
    space = Space.parse({"hidden": [(512, 256), "64", 32, "none"]}, Spec)
    trial = Recorder()
    assert space.suggest(trial) == {"hidden": "512-256"}
    assert trial.asked == [("choice", "hidden", ("512-256", "64", "32", "none"))]
    for choice, sizes in zip(space.grid()["hidden"], [(512, 256), (64,), (32,), ()], strict=True):
        assert space.spec({}, {"hidden": choice}).hidden_sizes == sizes


def test_parse_returns_a_space_as_it_is():
    space = default_space()
    assert Space.parse(space, Spec) is space


def test_default_space():
    space = default_space()
    assert space.names == ("width", "latent_dim", *DEFAULT_RANGES)
    assert not {"batch_size", "activation", "hidden"} & set(space.names)
    assert "lr" in space
    assert "seed" not in space
    assert len(space) == 7
    check_disjoint({}, space)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"latent_dims": (1, 2)}, "unknown setting 'latent_dims'; did you mean 'latent_dim'?"),
        ({1: (1, 2)}, "unknown setting '1'"),
        ({"lr": (3, 1)}, "`low <= high` must hold for lr, but got low=3, high=1; swap them."),
        (
            {"latent_dim": "20..1"},
            "`low <= high` must hold for latent_dim, but got low=20, high=1; swap them.",
        ),
        ({"kernel": "3..9"}, "only allowed values, but kernel=4 is not; list its choices, as kernel=3,9."),
        ({"dropout": (0, 0.3, "log")}, "`low > 0` must hold for dropout on a log scale, but got low=0"),
        ({"layers": (0, 3, "log")}, "`low > 0` must hold for layers"),
        ({"optimizer": (1, 3)}, "`optimizer` is not a number and has no range"),
        ({"optimizer": "adam..sgd"}, "`optimizer` is not a number and has no range"),
        ({"hidden": "64..512"}, "hidden=512-256,256-128"),
        ({"latent_dim": (0, 20)}, "`latent_dim` must be 1 to 4096"),
        ({"latent_dim": (1, 10**9)}, "`latent_dim` must be 1 to 4096"),
        ({"dropout": (0, 1)}, "`dropout` must be 0 to below 1"),
        ({"lr": (math.nan, 1)}, "finite"),
        ({"lr": (1e-4, math.inf)}, "finite"),
        ({"lr": "nan..1"}, "finite"),
        ({"lr": "1e-4..1e400"}, "finite"),
        ({"latent_dim": (1, 20.0)}, "the ends of latent_dim must be whole numbers, but got 20.0"),
        ({"latent_dim": "1..2.5"}, "the ends of latent_dim must be whole numbers, but got 2.5"),
        ({"latent_dim": (True, 3)}, "must be numbers, but latent_dim got True"),
        ({"lr": ("1e-4", 1)}, "must be numbers, but lr got '1e-4'"),
        ({"latent_dim": "1..many"}, "must be numbers, but latent_dim got 'many'; write latent_dim=1..20"),
        ({"latent_dim": "1.."}, "must be numbers, but latent_dim got ''"),
        ({"latent_dim": "..5"}, "must be numbers"),
        ({"latent_dim": "1..5..9"}, "must be numbers"),
        ({"lr": "0...5"}, "low..high"),
        ({"lr": "1e-4..1e-2:ln"}, "the scale of a range must be log or omitted, but lr got 'ln'"),
        ({"lr": "1e-4..1e-2:"}, "the scale of a range must be log"),
        ({"lr": (1e-4,)}, "a range is (low, high)"),
        ({"lr": ()}, "a range is (low, high)"),
        ({"lr": (1, 2, "ln")}, "a range is (low, high)"),
        ({"lr": (1, 2, 3, 4)}, "a range is (low, high)"),
        ({"optimizer": []}, "at least one choice"),
        ({"optimizer": ["adam", "adam"]}, "the choices of optimizer must differ, but 'adam' appears twice"),
        ({"latent_dim": [1, "1"]}, "the choices of latent_dim must differ"),
        ({"hidden": ["64-32", (64, 32)]}, "the choices of hidden must differ, but '64-32' appears twice"),
        ({"hidden": [None]}, "`hidden` is written as"),
        ({"optimizer": ["adam", "adm"]}, "`optimizer` must be one of adam"),
        ({"optimizer": "adam,,sgd"}, "empty choice"),
        ({"optimizer": ""}, "empty choice"),
        ({"latent_dim": [1, True]}, "not a boolean"),
        ({"latent_dim": 5}, "a fixed value is a setting"),
        ({"latent_dim": None}, "needs a range"),
        ({"lr": {"low": 1, "hihg": 2}}, "did you mean 'high'?"),
        ({"lr": {"low": 1}}, "needs low and high"),
        ({"lr": {"low": 1, "high": 2, "choices": [1]}}, "needs low and high"),
        ({"lr": {"low": 1, "high": 2, "log": "yes"}}, "log must be true or false"),
        ({"lr": {"choices": "12"}}, "needs low and high, or a list"),
        ({"hidden": ["64"], "width": (1, 2), "layers": (1, 2)}, "`hidden` overrides width, layers"),
        ({"lr": "x" * 65_000 + ".."}, "..."),
        ({}, "at least one setting, but got none"),
        ([("lr", (1, 2))], "a mapping"),
    ],
)
def test_refusals(space, words):
    assert words in refusal(Space.parse, space, Spec)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["lr"], "name=low..high"),
        (["=1..2"], "name=low..high"),
        (["lr=1e-4..1e-2", "lr =1..2"], "'lr' is searched twice"),
        (["lrr=1..2"], "did you mean 'lr'"),
        ([], "at least one setting"),
    ],
)
def test_refused_strings(pairs, words):
    assert words in refusal(Space.from_strings, pairs, Spec)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'lr = "1e-4..1e-2"\nlatent_dim = = 3\n', "line 2"),
        (b'lr = "1..2"\nlr = "1..2"\n', "line 2"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"", "at least one setting"),
        (b"lr = 0.1\n", "a fixed value is a setting"),
        (b"lr = " + b"[" * 100_000, "space.toml"),
        (b"#" * (1 << 23), "larger than"),
        (b"lr = 2020-01-01\n", "needs a range"),
    ],
)
def test_refused_toml(tmp_path, content, words):
    file = tmp_path / "space.toml"
    file.write_bytes(content)
    assert words in refusal(Space.from_toml, file, Spec)


def test_toml_that_is_no_file(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path, "/dev/zero", tmp_path / ("x" * 5000)):
        assert "does not exist" in (message := refusal(Space.from_toml, path, Spec)) or "is not a file" in message


def test_a_range_of_one_value():
    space = Space.parse({"latent_dim": (7, 7), "lr": (1e-3, 1e-3, "log")}, Spec)
    assert space.grid() == {"latent_dim": [7], "lr": [1e-3]}
    study = optuna.create_study()
    assert space.suggest(study.ask()) == {"latent_dim": 7, "lr": 1e-3}


def test_without():
    space = default_space()
    assert space.without(["lr", "epochs"]).names == tuple(n for n in space.names if n != "lr")
    assert space.without({"hidden": "64"}).names == ("latent_dim", "lr", "weight_decay", "dropout")
    assert len(space.without(space.names)) == 0
    with pytest.raises(TypeError):
        space.without("lr")


@pytest.mark.parametrize(
    ("fixed", "space", "words"),
    [
        ({"lr": 0.1}, {"lr": (1e-4, 1e-2)}, "`lr` is both set and searched"),
        ({"hidden": "64"}, {"width": (8, 16)}, "`hidden` is set and overrides width"),
        ({"layers": 3}, {"hidden": ["64", "32"]}, "`hidden` is searched and overrides layers"),
        ({"likelihood": "gaussian"}, {"binarize": ["none", "fixed"]}, "`binarize` needs the Bernoulli"),
        ({"lrr": 0.1}, {"latent_dim": (1, 2)}, "did you mean 'lr'"),
        ({}, {"samples": (1, 4), "free_bits": (0, 1.0)}, "`free_bits` needs `samples` = 1"),
        ({"lr": -1}, {"latent_dim": (1, 2), "beta": (0, 1)}, "`lr` must be above 0"),
    ],
)
def test_check_disjoint(fixed, space, words):
    assert words in refusal(check_disjoint, fixed, Space.parse(space, Spec))


def test_check_disjoint_accepts_what_fits():
    check_disjoint({"lr": 0.1, "hidden": "64"}, default_space().without(["lr", "hidden"]))
    check_disjoint({"samples": 4}, Space.parse({"latent_dim": (1, 20)}, Spec))


def test_spec_puts_parameters_over_settings():
    space = default_space()
    spec = space.spec({"latent_dim": 2, "seed": 4}, {"latent_dim": 8, "lr": 1e-3})
    assert spec == Spec(latent_dim=8, seed=4, lr=1e-3)
    with pytest.raises(InputError, match="did you mean"):
        space.spec({}, {"latent_dims": 3})


def test_grid_points():
    grid = Space.parse(
        {
            "latent_dim": (1, 20),
            "width": (64, 1024, "log"),
            "epochs": (1, 101),
            "lr": (1e-4, 1.0, "log"),
            "dropout": (0.0, 0.4),
            "optimizer": ["adam", "sgd"],
        },
        Spec,
    ).grid()
    assert grid["latent_dim"] == list(range(1, 21))
    assert grid["width"] == [64, 128, 256, 512, 1024]
    assert grid["epochs"] == [1, 26, 51, 76, 101]
    np.testing.assert_allclose(grid["lr"], np.geomspace(1e-4, 1.0, 5), rtol=1e-12)
    np.testing.assert_allclose(grid["dropout"], np.linspace(0, 0.4, 5), rtol=1e-12)
    assert grid["optimizer"] == ["adam", "sgd"]
    assert all(type(value) is int for name in ("latent_dim", "width", "epochs") for value in grid[name])
    for points in (1, 0, -3):
        assert "points_per_range >= 2" in refusal(default_space().grid, points)


def test_optuna_visits_the_whole_grid_and_every_value_is_a_spec():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = Space.parse({"lr": (5e-4, 8e-3, "log"), "latent_dim": (1, 3), "hidden": ["64-32", "16"]}, Spec)
    grid = space.grid(3)
    study = optuna.create_study(sampler=optuna.samplers.GridSampler(grid, seed=0))
    study.optimize(lambda trial: space.spec({}, space.suggest(trial)).lr, n_trials=100)
    visited = {tuple(trial.params[name] for name in grid) for trial in study.trials}
    assert len(study.trials) == len(visited) == 3 * 3 * 2


def test_same_seed_same_parameters_and_all_within_the_ranges():
    def draw(space):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
        return [space.suggest(study.ask()) for _ in range(50)]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = default_space()
    drawn = draw(space)
    assert drawn == draw(Space.from_json(space.to_json(), Spec))
    for params in drawn:
        space.spec({}, params)
        for name, (low, high, *_) in DEFAULT_RANGES.items():
            assert low <= params[name] <= high
    # Half of the draws on a log scale lie below the geometric mean; 7 and 43 are 5 standard errors away.
    below = sum(params["weight_decay"] < 1e-4 for params in drawn)
    assert 7 <= below <= 43


def lows_and_highs(numbers):
    return st.tuples(numbers, numbers).map(sorted)


@settings(max_examples=100, deadline=None)
@given(
    ints=lows_and_highs(st.integers(1, 4096)),
    floats=lows_and_highs(st.floats(1e-300, 100)),
    log=st.booleans(),
    choices=st.lists(st.floats(0, 100, exclude_min=True), min_size=1, max_size=4, unique=True),
    hidden=st.lists(st.lists(st.integers(1, 99), max_size=3).map(tuple), min_size=1, max_size=4, unique=True),
    sigma=st.lists(st.sampled_from(["auto", "shared", 0.5, 2.0]), min_size=1, unique=True),
)
def test_text_round_trip(ints, floats, log, choices, hidden, sigma):
    scale = ("log",) if log else ()
    space = Space.parse(
        {
            "latent_dim": (*ints, *scale),
            "lr": (*floats, *scale),
            "beta": choices,
            "hidden": hidden,
            "sigma": sigma,
        },
        Spec,
    )
    table = space.to_json()
    assert all(isinstance(text, str) for text in table.values())
    assert Space.from_json(table, Spec) == space
    assert Space.from_strings([f"{name}={text}" for name, text in table.items()], Spec) == space
    for name, values in space.grid(4).items():
        assert len(set(values)) == len(values)
        for value in values:
            Spec.create(**{name: value})
    low, high = floats
    assert all(low <= value <= high for value in space.grid(7)["lr"])


def test_dimensions_show_themselves_as_text():
    assert repr(Dimension.parse("lr", "1e-4..1e-2:log", Spec)) == "Dimension('lr', 0.0001..0.01:log)"
    assert Dimension.choice("optimizer", ["adam", "sgd"], Spec).text == "adam,sgd"


def test_rounding_does_not_carry_a_grid_point_past_an_end():
    # Two floats apart: the third of five points on a log scale rounds to one float above the end.
    low, high = 1.7494690714989097e-06, 1.7494690714989103e-06
    values = Space.parse({"lr": (low, high, "log")}, Spec).grid(5)["lr"]
    assert values[0] == low
    assert values[-1] == high
    assert all(low <= value <= high for value in values)
