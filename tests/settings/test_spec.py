"""Spec: what is accepted, what is refused, and in which words."""

import subprocess
import sys
from functools import partial

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaelab.errors import InputError, shown, unknown_name
from vaelab.settings.spec import WIDTHS, allowed, number_kind, parse_settings, parse_value, settings_table
from vaelab.vae.spec import Spec


def refusal(**given):
    """The message for refused settings, which must be one readable line."""
    with pytest.raises(InputError) as caught:
        Spec.create(**given)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def test_defaults_are_those_of_the_design():
    spec = Spec()
    assert (spec.latent_dim, spec.layers, spec.width, spec.taper, spec.beta) == (16, 2, 256, 0.5, 1.0)
    assert (spec.optimizer, spec.lr, spec.clip, spec.schedule, spec.epochs) == (
        "adam",
        2e-3,
        200.0,
        "auto",
        "auto",
    )
    assert spec.hidden_sizes == (256, 128)


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ({"layers": 0}, ()),
        ({"hidden": "none"}, ()),
        ({"hidden": ""}, ()),
        ({"hidden": 64}, (64,)),
        ({"hidden": "512-256"}, (512, 256)),
        ({"hidden": [32, 16]}, (32, 16)),
        ({"layers": 4, "width": 3, "taper": 0.1}, (3, 1, 1, 1)),
        ({"layers": 3, "width": 100, "taper": 1.0}, (100, 100, 100)),
        ({"hidden": "8", "layers": 5}, (8,)),
    ],
)
def test_hidden_sizes(given, sizes):
    assert Spec.create(**given).hidden_sizes == sizes


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"latent_dim": 0}, "`latent_dim` must be 1 to 4096 (a whole number), but got 0."),
        ({"latent_dim": -1}, "but got -1"),
        ({"latent_dim": 10**9}, "1 to 4096"),
        ({"latent_dim": 2.5}, "(a whole number)"),
        ({"latent_dim": float("nan")}, "(a whole number)"),
        ({"latent_dim": None}, "(a whole number)"),
        ({"latent_dim": True}, "not a boolean"),
        ({"lr": False}, "not a boolean"),
        ({"lr": float("nan")}, "`lr` must be above 0 up to 100 (a finite number), but got nan."),
        ({"lr": float("inf")}, "finite"),
        ({"lr": 0}, "above 0"),
        ({"lr": "fast"}, "number"),
        ({"dropout": 1.0}, "below 1"),
        ({"taper": 0}, "above 0"),
        ({"optimizer": "adm"}, "one of adam, adamw, rmsprop, sgd, but got 'adm'"),
        (
            {"optimizer": "x", "lr": -1},
            "`optimizer` must be one of adam, adamw, rmsprop, sgd, but got 'x'.",
        ),
        ({"sigma": -1}, "feature, or above 0"),
        ({"sigma": "wide"}, "shared"),
        ({"batch_size": 0}, "auto, or at least 1 (a whole number)"),
        ({"hidden": "512--256"}, "`hidden` is written as '512-256', or 'none', but got '512--256'."),
        ({"hidden": "12,3"}, "is written as"),
        ({"channels": "none"}, "`channels` is written as '32-64', but got 'none'."),
        ({"channels": ()}, "`channels`"),
        ({"channels": "16-0"}, "up to 12 widths of 1 to 4096, but got"),
        ({"channels": [8] * 13}, "up to 12 widths of 1 to 4096, but got"),
        ({"kernel": 4}, "`kernel` must be odd, so that it has a centre, but got 4."),
        ({"norm": "layer"}, "one of none, batch, group"),
        ({"network": "cnn"}, "one of mlp, conv"),
        ({"precision": "fp16"}, "one of float32, bf16"),
        ({"hidden": "0"}, "widths of 1 to 16384"),
        ({"hidden": "-".join(["8"] * 65)}, "`hidden` must be none, or up to 64 widths of 1 to 16384, but got ('8',"),
        ({"epochs": 10**30}, "auto, or 1 to 10000000"),
        ({"warmup": 10**400}, "0 to 10000000"),
        ({"hidden": (3, -1)}, "widths of 1 to 16384"),
        ({"hidden": 2.5}, "`hidden`"),
        ({"device": "gpu"}, "`device` must be auto, cpu, cuda[:N], mps"),
        ({"seed": 2**63}, "below 2**63"),
        ({"samples": 2, "free_bits": 0.5}, "`free_bits` needs `samples` = 1"),
        ({"binarize": "fixed", "likelihood": "gaussian"}, "`binarize` needs the Bernoulli likelihood"),
        ({"hidden": "a\nb" * 20_000}, "is written as"),
        ({"device": "x" * 65_000}, "..."),
        ({"latent_dim": "9" * 65_000}, "..."),
        ({"latent_dims": 3}, "unknown setting 'latent_dims'; did you mean 'latent_dim'?"),
        ({"x" * 65_000: 3}, "known: activation, "),
        ({"": 3}, "unknown setting ''"),
    ],
)
def test_refusals_give_rule_and_value(given, words):
    assert words in refusal(**given)


def test_numpy_numbers_are_numbers():
    spec = Spec.create(latent_dim=np.int64(5), lr=np.float32(0.5), dropout=np.float64(0.1))
    assert (type(spec.latent_dim), type(spec.lr), type(spec.dropout)) == (int, float, float)
    assert (spec.latent_dim, spec.lr) == (5, 0.5)


def test_a_spec_is_frozen_and_comparable():
    spec = Spec(latent_dim=3)
    with pytest.raises(pydantic.ValidationError):
        spec.latent_dim = 4
    assert spec == Spec(latent_dim=3)
    assert hash(spec) == hash(Spec(latent_dim=3))


def test_replace_validates_again_and_leaves_the_original():
    spec = Spec(latent_dim=3, hidden="8-4", sigma=0.5)
    assert spec.replace(lr=0.1) == Spec(latent_dim=3, hidden="8-4", sigma=0.5, lr=0.1)
    assert spec.lr == 2e-3
    with pytest.raises(InputError, match="latent_dim"):
        spec.replace(latent_dim=0)
    with pytest.raises(InputError, match="did you mean 'lr'"):
        spec.replace(lrr=1)


@settings(max_examples=50, deadline=None)
@given(
    latent_dim=st.integers(1, 4096),
    lr=st.floats(0, 100, exclude_min=True),
    hidden=st.none() | st.lists(st.integers(1, 16384), max_size=4),
    sigma=st.sampled_from(["auto", "shared", "feature"]) | st.floats(1e-300, 1e300),
)
def test_json_round_trip(latent_dim, lr, hidden, sigma):
    spec = Spec.create(latent_dim=latent_dim, lr=lr, hidden=hidden, sigma=sigma)
    assert Spec.model_validate_json(spec.model_dump_json()) == spec
    assert Spec.create(**spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("epochs", "5", 5),
        ("lr", "1e-3", 1e-3),
        ("hidden", "512", "512"),
        ("hidden", "512-256", "512-256"),
        ("batch_size", "auto", "auto"),
        ("device", "cuda:1", "cuda:1"),
    ],
)
def test_parse_value(name, text, value):
    parsed = parse_value(name, text, Spec)
    assert (parsed, type(parsed)) == (value, type(value))


def test_parse_settings():
    assert parse_settings(["lr=1e-3", "optimizer = sgd", "hidden=8"], Spec) == {
        "lr": 1e-3,
        "optimizer": "sgd",
        "hidden": "8",
    }
    for fault, words in (("lr", "name=value"), ("=3", "name=value"), ("lrr=1", "did you mean 'lr'")):
        with pytest.raises(InputError, match=words):
            parse_settings([fault], Spec)
    with pytest.raises(InputError, match="finite"):
        Spec.create(**parse_settings(["lr=nan"], Spec))


def test_number_kind_of_every_setting():
    kinds = {name: number_kind(name, Spec) for name in Spec.model_fields}
    for name, kind in kinds.items():
        default = Spec.model_fields[name].default
        if type(default) in (int, float):
            assert kind is type(default), name
    assert {name for name, kind in kinds.items() if kind and not isinstance(Spec.model_fields[name].default, kind)} == {
        "sigma",
        "batch_size",
        "pretrain",
        "epochs",
        "patience",
    }
    assert kinds["hidden"] is None


def test_every_setting_has_a_meaning():
    table = settings_table(Spec)
    assert sorted(row[0] for row in table) == sorted(Spec.model_fields)
    assert all(meaning for *_, meaning in table)


@pytest.mark.parametrize(("name", "field"), Spec.model_fields.items())
def test_what_the_table_allows_is_what_the_spec_takes(name, field):
    text = allowed(name, Spec)
    create = partial(Spec.create, **{"prior": "mixture"} if name == "pretrain" else {})
    for words in text.replace(", or ", ", ").split(", "):
        numbers = [float(part.replace("2**63", str(2**63))) for part in words.split() if part[0].isdigit()]
        numbers = numbers[-2:]  # of 'up to 64 widths of 1 to 16384'
        if not numbers:
            create(**{name: words.replace("[:N]", ":0")})
            continue
        kind = number_kind(name, Spec) or str
        low, high = numbers[0], numbers[1] if len(numbers) > 1 else None
        step = 1 if kind is not float else 1e-6
        as_value = (lambda v: str(int(v))) if name in WIDTHS else kind
        inside = low + step if "above" in words else low
        create(**{name: as_value(inside)})
        with pytest.raises(InputError):
            create(**{name: as_value(inside - step)})
        if high is not None:
            last = high - step if "below" in words else high
            create(**{name: as_value(last) if high < 2**60 else 2**63 - 1})
            with pytest.raises(InputError):
                create(**{name: as_value(last + step) if high < 2**60 else 2**63})


def test_unknown_name_lists_the_known_ones_when_nothing_is_near():
    assert str(unknown_name("key", "zzz", ["b", "a"])) == "unknown key 'zzz'; known: a, b."


def test_shown_keeps_both_ends():
    assert shown("abc") == "'abc'"
    assert len(shown("x" * 10_000)) <= 80
    assert shown(list(range(1000))).startswith("[0, 1")


def test_settings_tasks_and_store_import_neither_torch_nor_sklearn_nor_optuna():
    code = (
        "import sys, vaelab.settings.space, vaelab.store, vaelab.study.config;"
        "import vaelab.vae.task, vaelab.classifier.task;"
        "print([m for m in ('torch', 'sklearn', 'optuna', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
