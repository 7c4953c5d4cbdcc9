"""Inverse problems: expressions, enumerated solutions, gates, scores and refinement against independent truth."""

import contextlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from vaelab.errors import InputError
from vaelab.inverse import files, priors, problems, scores
from vaelab.inverse.conditional import as_table
from vaelab.inverse.coordinates import Frame, Support
from vaelab.inverse.expressions import Expression, Forward
from vaelab.inverse.forward import along, pullback
from vaelab.inverse.lines import FAMILIES, draw_ends, ends_of, is_inside, lines
from vaelab.inverse.methods import Ground, refine_candidates
from vaelab.inverse.refine import refine

NAMES = list(FAMILIES)


def forward_of(name, x):
    """The three forward functions in NumPy."""
    a, b = x[..., 0, :], x[..., 1, :]
    if name == "product":
        return a * b
    if name == "two-birds-easy":
        return np.stack([np.sin(5 * a + 3 * b), np.cos(4 * a + 8 * b)], -2)
    return np.stack([np.cos(49 * a + 42 * b), np.cos(56 * a + 63 * b)], -2)


# Expressions


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("cos(49*x0 + 42*x1)", lambda a, b: np.cos(49 * a + 42 * b)),
        ("-x0**2 / (1 + exp(-x1))", lambda a, b: -(a**2) / (1 + np.exp(-b))),
        ("sqrt(abs(x0 - x1)) * pi + e", lambda a, b: np.sqrt(np.abs(a - b)) * np.pi + np.e),
        ("2**3**x0 - 4/3", lambda a, b: 2 ** (3**a) - 4 / 3),
        ("7", lambda a, b: np.full_like(a, 7)),
        ("atan(x0) + tanh(+x1)", lambda a, b: np.arctan(a) + np.tanh(b)),
        ("where(x0 > 0, x0, 2*x1)", lambda a, b: np.where(a > 0, a, 2 * b)),
        ("where(x0 <= 0, sqrt(-x0), log(x0))", lambda a, b: np.log(a)),
        ("where(x0 > 0.5, sqrt(x0 - 0.5), 0)", lambda a, b: np.sqrt(np.maximum(a - 0.5, 0))),
        ("(x0 >= x1) * x0 + (x0 != x1) + (x1 < x0) - (x0 == 1)", lambda a, b: (a >= b) * a + 1.0 + (b < a)),
        ("min(x0, x1, 0.5) + max(x0, x1)", lambda a, b: np.minimum(np.minimum(a, b), 0.5) + np.maximum(a, b)),
        ("atan2(x0, x1) - arctan2(x1, -x0)", lambda a, b: np.arctan2(a, b) - np.arctan2(b, -a)),
        ("log10(x0) + log2(x1) + ln(x0) + log1p(x1)", lambda a, b: np.log10(a) + np.log2(b) + np.log(a) + np.log1p(b)),
        ("hypot(x0, 3*x1) + square(x0)", lambda a, b: np.hypot(a, 3 * b) + a**2),
        (
            "sinh(x0) * cosh(x1) + asinh(x0) + acosh(1 + x1)",
            lambda a, b: np.sinh(a) * np.cosh(b) + np.arcsinh(a) + np.arccosh(1 + b),
        ),
        (
            "atanh(x0) + asin(x0) + arccos(x1) + arcsin(x1) + arctan(x0)",
            lambda a, b: np.arctanh(a) + np.arcsin(a) + np.arccos(b) + np.arcsin(b) + np.arctan(a),
        ),
        ("sign(x0 - x1) * x0 + abs(x0 - x1)", lambda a, b: np.sign(a - b) * a + np.abs(a - b)),
        (
            "floor(5*x0) + ceil(5*x1) + round(3*x0) + trunc(-3*x1) + x0",
            lambda a, b: np.floor(5 * a) + np.ceil(5 * b) + np.round(3 * a) + np.trunc(-3 * b) + a,
        ),
        ("clip(x0, 0.2, x1 + 0.3) + pow(x0, 2.5)", lambda a, b: np.clip(a, 0.2, b + 0.3) + a**2.5),
        ("7*x0 % 1 + mod(-x1, 0.3)", lambda a, b: 7 * a % 1 + np.mod(-b, 0.3)),
        ("erf(x0) + erfc(x1) + sigmoid(x0)", lambda a, b: special.erf(a) + special.erfc(b) + special.expit(a)),
        ("exp2(x0) + expm1(x1) + sinc(x0)", lambda a, b: np.exp2(a) + np.expm1(b) + np.sinc(a)),
        ("radians(x0) + degrees(x1)", lambda a, b: np.deg2rad(a) + np.rad2deg(b)),
    ],
)
def test_an_expression_is_the_function_it_spells_and_has_its_derivative(text, value):
    x = np.random.default_rng(0).uniform(0, 1, size=(2, 3, 4))
    own = torch.from_numpy(x)
    expression = lambda v: Expression(text, 2)(v.unbind()) + 0 * v[0]  # noqa: E731 - a constant has no graph
    np.testing.assert_allclose(expression(own), value(*x), rtol=1e-12)
    direction = np.random.default_rng(1).normal(size=x.shape)
    slope = (value(*(x + 1e-6 * direction)) - value(*(x - 1e-6 * direction))) / 2e-6
    np.testing.assert_allclose(along(expression, own, torch.from_numpy(direction)), slope, rtol=1e-6, atol=1e-7)
    gradient = pullback(expression, own, torch.ones(3, 4, dtype=torch.float64)) * torch.from_numpy(direction)
    np.testing.assert_allclose(gradient.sum(0), slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("text", "what", "place"),
    [
        ("__import__('os').system('true')", "__import__('os').system", 1),
        ("x0 + __import__('os')", "__import__", 6),
        ("x0.real", "x0.real", 1),
        ("x0 + x2", "x2", 6),
        ("x0 + x01", "x01", 6),
        ("(lambda: x0)()", "lambda: x0", 2),
        ("x0 + 'a'", "'a'", 6),
        ("x0 + True", "True", 6),
        ("[x0][0]", "[x0][0]", 1),
        ("sin(x0) @ x1", "sin(x0) @ x1", 1),
        ("open(x0)", "open", 1),
        ("x0 + 1j", "1j", 6),
        ("(y := x0)", "y := x0", 2),
    ],
)
def test_what_is_not_allowed_is_named_with_its_place(text, what, place):
    with pytest.raises(InputError) as refused:
        Expression(text, 2)
    assert f"`{what}` is not allowed at character {place} of" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cos(49*x0 +", "at character"),
        ("", "1 to 1000 characters"),
        ("x0" + "+x0" * 400, "1 to 1000 characters"),
        ("(" * 60 + "x0" + ")" * 60 + " +" * 0 + "-" * 0, None),
        ("-" * 60 + "x0", "nested more than 50"),
        ("x0 ^ 2", "`^` is not a power here, write ** at character 1"),
        ("sin(x0, x1)", "`sin` takes one argument at character 1"),
        ("sin(*x0)", "`sin` takes one argument"),
        ("atan2(x0)", "`atan2` takes two arguments at character 1"),
        ("1 + max(x0)", "`max` takes two arguments or more at character 5"),
        ("where(x0, 1)", "`where` takes three arguments"),
        ("0 < x0 < 1", "compare two values at a time"),
        ("x0 if x0 > 0 else 1", "write it like where(x0 > 0, x0, 1), at character 1"),
        ("x0 and x1", "write it like (x0 > 0) * (x1 > 0), at character 1"),
        ("x0 + 1e999", "a number must be finite at character 6"),
        ("x0 + " + "9" * 400, "a number must be finite"),
        ("x0\x00", "is not an expression"),
    ],
)
def test_a_bad_expression_is_one_line(text, message):
    if message is None:  # brackets alone nest nothing
        Expression(text, 1)
        return
    with pytest.raises(InputError) as refused:
        Expression(text, 2)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_huge_power_is_infinite_instead_of_taking_for_ever():
    assert Expression("9**9**9**9", 1)([torch.ones(2)]).isinf().all()


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="x01+-*/(). sincope_'\"[]{}é\n\t,=:@^lambda", max_size=30))
def test_any_text_is_an_expression_or_an_input_error(text):
    with contextlib.suppress(InputError):
        assert Forward([text], 2)(torch.ones(2, 2, 3)).shape == (2, 3)


# Solutions


@pytest.mark.parametrize("name", NAMES)
def test_every_listed_solution_solves_and_the_known_one_is_among_them(name):
    for ends in draw_ends(40, np.random.default_rng(1)):
        solutions = FAMILIES[name].solutions(ends)
        np.testing.assert_allclose(
            forward_of(name, lines(solutions)),
            np.broadcast_to(forward_of(name, lines(ends)), (len(solutions), *forward_of(name, lines(ends)).shape)),
            atol=1e-9,
        )
        assert is_inside(solutions, 1e-6).all()
        if name != "product":
            assert np.abs(solutions - ends).max(1).min() < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two-birds-easy", "two-birds"])
def test_brute_force_finds_no_solution_that_is_not_listed(name):
    """Where the misfit of SciPy's least squares, started from random lines, vanishes, a listed solution is."""

    def missed(u, y):
        return (forward_of(name, lines(u)) - y).ravel()

    rng = np.random.default_rng(2)
    seen = 0
    for ends in draw_ends(6, rng):
        y = forward_of(name, lines(ends))
        solutions = FAMILIES[name].solutions(ends)
        found = set()
        for start in draw_ends(60, rng):
            u, _, info, *_ = optimize.leastsq(missed, start, (y,), full_output=True, maxfev=300)
            if (info["fvec"] ** 2).sum() < 2e-16 and is_inside(u, -1e-6):
                distance = np.abs(solutions - u).max(1)
                assert distance.min() < 1e-5
                found.add(int(distance.argmin()))
        seen += len(found)
    assert seen >= 6


def test_the_continuum_of_the_product_is_covered_from_end_to_end():
    """Its extremes touch the box, and every solution that a fine search in s finds lies between its neighbours."""
    for ends in draw_ends(20, np.random.default_rng(3)):
        grid = FAMILIES["product"].solutions(ends)
        assert grid[-1, 0] == pytest.approx(1)  # s x0 reaches 1
        assert grid[0, 3] == pytest.approx(1)  # x1 / s reaches 1
        s = np.exp(np.linspace(-8, 8, 3001))[:, None]
        family = np.concatenate([ends[None, :2] * s, ends[None, 2:] / s], 1)
        inside = family[is_inside(family)]
        assert (inside[:, 0] >= grid[0, 0] - 1e-9).all()
        assert (inside[:, 0] <= grid[-1, 0] + 1e-9).all()


def test_exact_draws_of_the_product_have_the_posterior_of_rejection():
    """p(s | y) by brute force: lines from the prior whose product is close to y. Compared by the mean of log x0."""
    rng = np.random.default_rng(4)
    ends = np.array([0.8, 0.2, 0.3, 0.7])
    target = forward_of("product", lines(ends))
    prior = draw_ends(2_000_000, rng)
    coarse = prior[:, [0, 1, 0, 1]] * prior[:, [2, 3, 3, 2]]  # y at both ends, and the two mixed products
    t = np.array([0, 0.5, 1])
    x0 = prior[:, :1] * (1 - t) + prior[:, 1:2] * t
    x1 = prior[:, 2:3] * (1 - t) + prior[:, 3:] * t
    assert coarse.shape[1] == 4
    near = prior[np.abs(x0 * x1 - target[[0, 24, 49]] * [1, 1, 1]).max(1) < 0.012]
    assert len(near) > 300
    exact = FAMILIES["product"].draw(ends, 20_000, rng)
    # the tolerance of rejection blurs the edges of the range of s, hence a bias beside the standard error
    for column in (0, 3):
        a, b = np.log(near[:, column]), np.log(exact[:, column])
        assert abs(a.mean() - b.mean()) < 4 * a.std() / math.sqrt(len(a)) + 0.03


def test_exact_draws_of_waves_take_every_solution_equally():
    ends = draw_ends(30, np.random.default_rng(5))
    ends = next(e for e in ends if len(FAMILIES["two-birds"].solutions(e)) >= 5)
    solutions = FAMILIES["two-birds"].solutions(ends)
    drawn = FAMILIES["two-birds"].draw(ends, 10_000, np.random.default_rng(6))
    counts = (np.abs(drawn[:, None] - solutions[None]).max(2) < 1e-12).sum(0)
    share = 1 / len(solutions)
    assert (np.abs(counts / 10_000 - share) < 4 * math.sqrt(share * (1 - share) / 10_000)).all()


# Problems


@pytest.mark.parametrize("name", NAMES)
def test_built_in_problems_are_seeded_and_as_described(name):
    problem = problems.built_in(name, seed=3, train=200, validation=20, score=5)
    again = problems.built_in(name, seed=3, train=200, validation=20, score=5)
    np.testing.assert_array_equal(problem.x, again.x)
    assert not np.array_equal(problem.x, problems.built_in(name, seed=4, train=200, validation=20, score=5).x)
    np.testing.assert_allclose(problem.y, forward_of(name, problem.x), atol=1e-12)
    steps = np.diff(problem.x, axis=2)
    assert (steps[:, 0] <= 0).all()
    assert (steps[:, 1] >= 0).all()
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :, :1], steps.shape), atol=1e-12)
    assert problem.x.min() >= 0
    assert problem.x.max() <= 1
    assert [len(problem.splits[s]) for s in ("train", "validation", "test")] == [200, 20, 5]


def test_a_problem_of_your_own_is_checked():
    x = np.random.default_rng(0).uniform(size=(50, 2, 7))
    own = problems.create("own", x, None, ["x0 + x1", "x0 * x1"], noise=0.1, seed=1)
    residual = own.y - np.stack([x[:, 0] + x[:, 1], x[:, 0] * x[:, 1]], 1)
    assert residual.std() == pytest.approx(0.1, rel=4 / math.sqrt(2 * residual.size))
    for arguments, message in [
        ((x, np.zeros((50, 7)), ["x0 + x1", "x0 * x1"]), "f\\(x\\) must have the shape of y, \\(7,\\)"),
        ((x, np.zeros((49, 7)), ["x0"]), "must be pairs, but there are 50 of x and 49 of y"),
        ((x, None, ["x2"]), "`x2` is not allowed"),
        ((x, None, ["log(x0 - 2)"]), "NaN or infinite"),
        ((x * np.nan, None, ["x0"]), "x must be finite"),
        ((x[:3], None, ["x0"]), "at least 10"),
        ((x, None, lambda v: v.sum()), "must keep the first axis"),
        ((x, None, lambda v: tuple(v)), "returns a torch tensor"),
    ]:
        with pytest.raises(InputError, match=message):
            problems.create("own", *arguments)
    with pytest.raises(InputError, match="`noise` is a standard deviation"):
        problems.create("own", x, None, ["x0"], noise=-1)
    with pytest.raises(InputError, match=r"must have the shape \(n, 2, 7\)"):
        own.curves(np.zeros((3, 2, 8)))
    for value, message in ((np.nan, "no value but NaN"), (np.inf, "y must be finite")):
        with pytest.raises(InputError, match=message):
            own.curves(np.full((3, 2, 7), value))
    assert own.curves(np.zeros((2, 7))).shape == (1, 2, 7)


def test_a_forward_function_that_leaves_torch_is_not_differentiable():
    x = np.random.default_rng(0).uniform(size=(50, 2))
    assert problems.create("own", x, None, ["x0 * x1"]).is_differentiable
    for forward in (
        lambda v: v.detach() * 2,
        lambda v: torch.from_numpy(np.asarray(v.numpy()) * 2.0),
        lambda v: torch.round(v),
    ):
        assert not problems.create("own", x, None, forward).is_differentiable


def test_problems_load_from_files(tmp_path):
    x = np.random.default_rng(0).uniform(size=(60, 2))
    np.savez(tmp_path / "pairs.npz", x=x, y=x.sum(1))
    problem = files.load(str(tmp_path / "pairs.npz"), ["x0 + x1"], noise=0.5)
    assert (problem.noise.tolist(), problem.gate.tolist()) == ([0.5], [1.0])
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "own.toml").write_text('x = "x.npy"\nforward = ["x0 * x1", "x0"]\n')
    assert files.load(str(tmp_path / "own.toml")).y_shape == (2,)
    (tmp_path / "drawn.toml").write_text('forward = "x0"\nexamples = 500\ninputs = [{low = -1, high = 3}]\n')
    drawn = files.load(str(tmp_path / "drawn.toml"))
    assert drawn.x.shape == (500, 1)
    assert -1 <= drawn.x.min() < -0.9
    assert 2.9 < drawn.x.max() <= 3
    for text, message in [
        (
            'forward = "x0"\ninputs = [{low = 3, high = 1}]',
            "`low < high` must hold for input x0, but got low=3, high=1",
        ),
        ('forward = "x0"', "needs x, a file, or `table`, or `inputs`"),
        ('forwards = "x0"', "did you mean 'forward'"),
        ("forward = ", "is not TOML: Invalid value"),
        ("forward = " + "[" * 20_000, "nested too deeply"),
        (".".join("a" * 100) + " = 1", "nested too deeply"),
        ("noise = " + "9" * 5_000, "a number that is too long"),
        ("forward = 3\ninputs = [{low = 0, high = 1}]", "but got 3"),
        ('forward = "x0"\nnoise = [0.1, 1]\ninputs = [{low = 0, high = 1}]', "is one number, or a list of 1"),
        (
            'forward = "x0"\nnoise = "5%"\ninputs = [{low = 0, high = 1}]',
            "is a number, or a list of one per output, but got '5%'",
        ),
        (
            'forward = "x0"\nnoise = true\ninputs = [{low = 0, high = 1}]',
            "is a number, or a list of one per output, but got True",
        ),
        ('forward = "x0"\nnoise = nan\ninputs = [{low = 0, high = 1}]', "must be at least 0, but got nan"),
        (
            'forward = "x0"\ngate = "x"\ninputs = [{low = 0, high = 1}]',
            "is a number, or a list of one per output, but got 'x'",
        ),
        ('forward = "x0"\ngate = -1\ninputs = [{low = 0, high = 1}]', "must be above 0, but got -1"),
        ('forward = "x0"\ninputs = [{low = -inf, high = inf}]', "`low of x0` must be finite"),
        ('forward = "x0"\ninputs = [{low = "0", high = 1}]', "`low of x0` must be one number"),
        ('forward = "x0"\ninputs = []', "at least one entry"),
        ('forward = "x0"\ninputs = 3', "`inputs` is a list"),
        ('forward = "x0"\nexamples = true\ninputs = [{low = 0, high = 1}]', "`examples` must be a whole number"),
        ('forward = "x0"\nexamples = 1000000000000\ninputs = [{low = 0, high = 1}]', "from 10 to 100000000"),
        ('forward = "x0"\nx = 3', "`x` of bad.toml is the name of an .npy file, but got 3"),
        ('forward = "x0"\nx = "missing.npy"', "the data file must exist, but .*missing.npy' does not"),
        ('forward = "x0"\nx = "pairs.npz"', "'pairs.npz' must have a valid .npy header"),
        ('forward = "x0"\nx = "empty.npy"', "'empty.npy' has 0 bytes"),
        ('forward = "x0"\ny = "x.npy"\ninputs = [{low = 0, high = 1}]', "needs x, the file of its pairs"),
        ('forward = "x0"\nnoise = -1\ninputs = [{low = 0, high = 1}]', "^`noise` of bad.toml is a standard deviation"),
        ('forward = "x0"\nnoise = 1e307\ninputs = [{low = 0, high = 1}]', "^`noise` of bad.toml must be at most 5e"),
        ('forward = "x0"\ngate = [1, 2]\ninputs = [{low = 0, high = 1}]', "^`gate` of bad.toml is one number"),
        ('forward = "x0"\ninputs = [{low = -1.7e308, high = 1.7e308}]', r"^x0 must lie within a range of 1e\+308, but"),
        (
            'forward = "x0"\ninputs = [{prior = "log-uniform", low = 1e-300, high = 1.7e308}]',
            r"^x0 must lie within a range of 1e\+308",
        ),
        (
            'forward = "x0"\ninputs = [{prior = "normal", mean = 0, sd = 1e308}]',
            r"^x must be finite, but its prior Normal.* draws -?inf for x0; narrow it",
        ),
    ]:
        (tmp_path / "empty.npy").touch()
        (tmp_path / "bad.toml").write_text(text)
        with pytest.raises(InputError, match=message):
            files.load(str(tmp_path / "bad.toml"))
    with pytest.raises(InputError, match="did you mean 'two-birds'"):
        files.load("two-bird")
    with pytest.raises(InputError, match="is not a file"):
        files.load("missing.npz")


def test_what_double_precision_cannot_hold_is_refused():
    x = np.linspace(-1, 1, 50)[:, None]
    for own, y, forward, options, said in (
        (1.7e308 * x, x, None, {}, "x0 must lie"),
        (1.7e308 * x, None, "x0 * 1e-300", {}, "x0 must lie"),
        (x, 1.7e308 * x[:, 0], None, {}, "output 0 of y must lie"),
        (x, None, "x0 * 1.7e308", {}, "output 0 of y must lie"),
        (x, None, "x0", {"bounds": [(-1.7e308, 1.7e308)]}, "x0 must lie"),
        (x, None, "x0", {"noise": 1.7e308}, "`noise` must be at most"),
    ):
        with pytest.raises(InputError, match=said):
            problems.create("wide", own, y, forward, **options)
    for prior in (torch.distributions.Uniform(-3e38, 3e38), torch.distributions.LogNormal(0.0, 500.0)):
        with pytest.raises(InputError, match=r"x must be finite, but its prior .* draws -?inf for x0"):
            priors.draw([prior], 100, 0)
    held = problems.create("wide", 4e307 * x, 1e-300 * x[:, 0], None)
    assert np.isfinite(as_table(held)[0].x).all()


@pytest.mark.parametrize(
    ("y", "options", "said"),
    [
        ("x0 * x1", {"noise": 1e300}, r"^y must vary by more than its noise, but y is nothing but noise of 1e\+300"),
        ("0 * x0 + 3", {}, "^y must vary over the examples, but y is constant"),
    ],
)
def test_what_there_is_nothing_to_learn_of_is_named(y, options, said):
    x = np.random.default_rng(0).uniform(0.5, 2, (300, 2))
    with pytest.raises(InputError, match=said):
        as_table(problems.create("nothing", x, None, y, **options))
    with pytest.raises(InputError, match=r"^x must vary over the examples, but width, height are constant"):
        as_table(problems.create("nothing", 0 * x, x, None, x_names=["width", "height"]))
    with pytest.raises(InputError, match=r"^y must vary over the examples, but red, blue are constant"):
        as_table(problems.create("nothing", x, 0 * x + 1, None, y_names=["red", "blue"]))


def test_a_frame_holds_what_varies_and_nothing_else():
    x = lines(draw_ends(500, np.random.default_rng(0)))
    frame = Frame.of(x)
    assert frame.size == 4
    np.testing.assert_allclose(frame.basis @ frame.basis.T, np.eye(4), atol=1e-12)
    back = frame.own(torch.from_numpy(frame.coordinates(x)))
    np.testing.assert_allclose(back, x, atol=1e-12)
    noisy = Frame.of(x + 0.01 * np.random.default_rng(1).standard_normal(x.shape), noise=0.02)
    assert noisy.size == 4


# Scores


def made(name, curves=6):
    problem = problems.built_in(name, train=20, validation=5, score=curves)
    x, y = problem.rows("test")
    return problem, x, y


@pytest.mark.parametrize("name", NAMES)
def test_exact_solutions_score_perfectly(name):
    problem, x, y = made(name)
    everything = [lines(problem.family.solutions(ends)) for ends in ends_of(x)]
    most = max(map(len, everything))
    candidates = np.stack([np.concatenate([s, np.repeat(s[:1], most - len(s), 0)]) for s in everything])
    found = scores.score(problem, candidates, x, y)
    assert found.recall == 1
    assert found.precision == 1
    assert found.gates == {"rmse": 1.0, "slope": 1.0, "pearson": 1.0, "all_pass": True}
    # each curve's first candidate is its first solution, so recall after one draw is one solution per curve
    if name != "product":
        assert found.recall_curve[0] == pytest.approx(6 / sum(map(len, everything)))


def test_each_gate_fails_alone():
    problem, x, y = made("product", 4)
    rng = np.random.default_rng(0)
    flipped = x[:, ::-1]  # the same product, the wrong slopes
    assert scores.score(problem, flipped[:, None], x, y).gates == {
        "rmse": 1,
        "slope": 0,
        "pearson": 1,
        "all_pass": False,
    }
    wiggle = x[:, None] + np.where(np.arange(50) % 2, 1, -1) * np.array([1, -1])[:, None] * 0
    assert scores.score(problem, wiggle, x, y).gates["all_pass"]
    noise = rng.standard_normal(50) * 2
    crooked = np.stack([x[:, 0] * np.exp(noise), x[:, 1] * np.exp(-noise)], 1)[:, None]  # the product is kept
    gates = scores.gates(problem, crooked, y)
    assert gates["rmse"].all()
    assert not gates["pearson"].any()
    expected = np.array([[abs(np.corrcoef(c, np.arange(50))[0, 1]) > 0.8 for c in curve[0]] for curve in crooked])
    np.testing.assert_array_equal(gates["pearson"][:, 0], expected.all(1))
    shifted = x.copy()
    shifted[:, 0] += 0.5
    assert scores.score(problem, shifted[:, None], x, y).gates["rmse"] < 1


def test_recall_counts_passing_candidates_alone_and_hulls_are_areas():
    problem, x, y = made("two-birds", 5)
    far = x + 0.019  # within 0.02 of a solution, but its waves are far off
    found = scores.score(problem, far[:, None], x, y)
    assert found.recall == 0
    assert found.precision == 0
    assert scores.hull_area(x[:, None], np.ones((5, 1), bool)) == pytest.approx(0, abs=1e-12)
    corner = np.zeros((1, 2, 2, 50))
    corner[0, 0, 0] = np.linspace(1, 0, 50)
    corner[0, 1, 1] = np.linspace(0, 1, 50)
    assert scores.hull_area(corner, np.ones((1, 2), bool)) == pytest.approx(0.5)  # triangle (0,0), (1,0), (0,1)


# Refinement


def test_refinement_solves_linear_least_squares_in_few_steps():
    rng = np.random.default_rng(0)
    A, y = torch.from_numpy(rng.normal(size=(6, 3))), torch.from_numpy(rng.normal(size=(4, 6)))
    exact = torch.linalg.lstsq(A.expand(4, 6, 3), y[..., None]).solution[..., 0]
    for derivative in ("forward", "reverse", "differences"):
        out = refine(lambda u: u @ A.T, torch.zeros(4, 3, dtype=torch.float64), y, 15, derivative=derivative)
        torch.testing.assert_close(out.u, exact, atol=1e-5, rtol=1e-5)
    # with a steep penalty on u < 0 it is the least squares of numbers that are not negative
    free = refine(lambda u: u @ A.T, exact, y, 100, penalty=lambda u: 100 * (-u).clamp_min(0))
    for k in range(4):
        expected, _ = optimize.nnls(A.numpy(), y[k].numpy())
        np.testing.assert_allclose(free.u[k], expected, atol=1e-3)


def test_refinement_never_makes_a_candidate_worse_and_counts_its_calls():
    problem, x, y = made("two-birds", 4)
    calls = 0

    def forward(ends):
        nonlocal calls
        calls += len(ends)
        pairs = ends.view(-1, 2, 2)
        t = torch.linspace(0, 1, 50, dtype=ends.dtype)
        return problem.forward(pairs[..., :1] * (1 - t) + pairs[..., 1:] * t).flatten(1)

    start = torch.from_numpy(ends_of(x) + 0.01 * np.random.default_rng(0).standard_normal((4, 4)))
    target = torch.from_numpy(y.reshape(4, -1))
    out = refine(forward, start, target, 30)
    assert (out.misfit.diff(dim=0) <= 1e-12).all()
    assert out.misfit[-1].max() < 1e-5
    np.testing.assert_allclose(out.u, ends_of(x), atol=1e-4)
    assert out.evaluations == calls


def test_a_row_is_refined_as_it_would_be_alone():
    problem, x, y = made("two-birds-easy", 3)
    frame = Frame.of(x)
    start = torch.from_numpy(frame.coordinates(x + 0.05))
    forward = lambda u: problem.forward(frame.own(u)).flatten(1)  # noqa: E731
    target = torch.from_numpy(y.reshape(3, -1))
    together = refine(forward, start, target, 8)
    for k in range(3):
        alone = refine(forward, start[k : k + 1], target[k : k + 1], 8)
        torch.testing.assert_close(alone.u[0], together.u[k], rtol=1e-9, atol=1e-9)


def test_the_support_holds_what_all_examples_share():
    x = lines(draw_ends(2_000, np.random.default_rng(0)))
    frame = Frame.of(x)
    support = Support.of(x, frame)
    inside = torch.from_numpy(frame.coordinates(lines(draw_ends(500, np.random.default_rng(1)))))
    assert support.excess(inside).max() < 0.02
    wrong = lines(np.array([[0.4, 0.5, 0.2, 0.6], [0.5, 0.4, 0.6, 0.5], [1.1, 0.2, 0.3, 0.4], [0.5, 0.4, -0.1, 0.3]]))
    outside = support.excess(torch.from_numpy(frame.coordinates(wrong)))
    assert (outside.max(1).values > 0.05).all()
    table = np.random.default_rng(2).uniform([0, 5], [1, 9], (1_000, 2))  # two values are no curve: only their ranges
    frame = Frame.of(table)
    support = Support.of(table, frame)
    points = np.array([[0.5, 7.0], [1.2, 7.0], [0.5, 9.8]])
    found = support.excess(torch.from_numpy(frame.coordinates(points))).max(1).values
    np.testing.assert_allclose(found, [0, 0.2, 0.2], atol=0.01)


@pytest.mark.parametrize(("text", "y", "root"), [("x0**2 + 3*x0", 0.0, 0.0), ("x0 + x1", 6.0, 2.0), ("x0", 2.0, 2.0)])
def test_a_root_on_a_bound_is_found(text: str, y: float, root: float) -> None:
    x = np.random.default_rng(0).uniform([0, 0], [2, 4], (300, 2))
    problem = problems.create("edge", x, None, [text], bounds=[(0, 2), (0, 4)])
    found, _ = refine_candidates(problem, Ground.of(problem), x[None, :40], np.array([y]), 30)
    assert scores.rmse(problem, found, np.array([y])).max() < 1e-6
    assert found[0, :, 0] == pytest.approx(root, abs=1e-6)
