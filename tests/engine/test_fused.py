"""Fused kernels against NumPy in double precision, autograd and torch.optim; and how they are prepared."""

import math
import os
import subprocess
import sys

import numba
import numpy as np
import pytest
import scipy.special
import torch
from numba import types

from vaelab.data import from_arrays
from vaelab.engine import fused
from vaelab.engine.fused import dense, functions, products, update
from vaelab.engine.networks import ACTIVATIONS, Layout
from vaelab.engine.optimizers import RULES, Optimizer, rule_of
from vaelab.engine.resolve import resolve_training
from vaelab.errors import InputError
from vaelab.vae.spec import Spec

GRID = np.concatenate([np.linspace(-90, 90, 20_001), np.linspace(-1, 1, 20_001), [0.0, -0.0, 1e-30, -1e-8, 1e-8]])
GRID = GRID.astype(np.float32)


def over(function):
    """A kernel's scalar function, over an array, in a loop that LLVM may vectorise."""

    @numba.njit
    def loop(x, y):
        for i in range(len(x)):
            y[i] = function(x[i])

    def call(x):
        x = np.asarray(x, np.float32)
        y = np.empty_like(x)
        loop(x, y)
        return y

    return call


TRUE = {
    "exp": np.exp,
    "expm1": np.expm1,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("name", TRUE)
def test_functions_are_right_to_a_few_units_in_the_last_place(name):
    with np.errstate(over="ignore"):
        found, expected = over(getattr(functions, name))(GRID), TRUE[name](GRID.astype(np.float64)).astype(np.float32)
    normal = np.abs(expected) > 3e-38  # smaller ones may be 0, as they are almost denormal
    np.testing.assert_allclose(found[normal], expected[normal], rtol=4e-7)
    assert (np.abs(found[~normal]) < 3e-38).all()


@pytest.mark.parametrize("name", TRUE)
def test_functions_keep_what_is_not_finite(name):
    with np.errstate(over="ignore"):
        expected = TRUE[name](np.array([np.nan, np.inf, -np.inf, 200, -200, 88.9]))
        np.testing.assert_allclose(
            over(getattr(functions, name))([np.nan, np.inf, -np.inf, 200, -200, 88.9]),
            expected.astype(np.float32), rtol=1e-6, atol=1e-37,
        )  # fmt: skip


def test_logarithms_are_right_to_a_few_units_in_the_last_place():
    rng = np.random.default_rng(0)
    x = np.concatenate([np.exp(rng.uniform(-80, 80, 20_000)), rng.uniform(0.5, 2, 20_000), [1.0]]).astype(np.float32)
    np.testing.assert_allclose(over(functions.log)(x), np.log(x.astype(float)), rtol=3e-7, atol=1e-10)
    more = [np.exp(rng.uniform(-80, 0, 20_000)), rng.uniform(-0.99, 0, 20_000), [0.0]]
    x = np.concatenate([x, *more]).astype(np.float32)
    np.testing.assert_allclose(over(functions.log1p)(x), np.log1p(x.astype(float)), rtol=3e-7, atol=1e-37)
    soft = np.logaddexp(0, GRID.astype(float))
    np.testing.assert_allclose(over(functions.softplus)(GRID), soft, rtol=6e-7, atol=3e-38)
    np.testing.assert_array_equal(over(functions.log)([np.nan, np.inf]), [np.nan, np.inf])


def test_digamma_is_scipys():
    x = np.exp(np.linspace(-10, 15, 500))
    found = [functions.digamma(value) for value in x]
    np.testing.assert_allclose(found, scipy.special.digamma(x), rtol=1e-10, atol=1e-12)


def test_every_activation_and_its_slope_are_those_of_autograd():
    assert set(dense.ACTIVATIONS) == set(ACTIVATIONS)
    for code, name in enumerate(dense.ACTIVATIONS):
        x = torch.from_numpy(GRID).double().requires_grad_()
        expected = ACTIVATIONS[name](x)
        (slope,) = torch.autograd.grad(expected.sum(), x)
        y, found = GRID.copy(), np.empty_like(GRID)
        dense.activate(code, y, found)
        np.testing.assert_allclose(y, expected.detach(), rtol=1e-6, atol=2e-7 * 90 if name == "gelu" else 2e-7)
        at_zero = GRID == 0  # where left and right slopes differ, that of PyTorch counts
        np.testing.assert_allclose(found, slope, rtol=1e-6, atol=3e-7)
        np.testing.assert_array_equal(found[at_zero], slope[at_zero].float())
        y = np.array([np.nan, 0.0], np.float32)
        dense.activate(code, y, np.empty_like(y))
        assert np.isnan(y[0])  # a failed training must show
        assert y[1] == 0  # padding stays padding


def test_products_in_all_transpositions_are_those_of_numpy():
    rng = np.random.default_rng(0)

    @numba.njit
    def call(a, b, c, which, m, n, k):
        at, row = dense.address, types.int64
        pa, pb, pc = at(a, 0), at(b, 0), at(c, 0)
        la, lb, lc = row(a.shape[1]), row(b.shape[1]), row(c.shape[1])
        if which == 0:
            products.multiply(m, n, k, pa, la, pb, lb, pc, lc, products.ONE)
        elif which == 1:
            products.multiply_by_transposed(m, n, k, pa, la, pb, lb, pc, lc, products.ZERO)
        else:
            products.multiply_transposed(m, n, k, pa, la, pb, lb, pc, lc)

    for m, n, k in (1, 1, 1), (5, 7, 3), (32, 20, 65), (100, 784, 64):
        for which in range(3):
            a = rng.normal(size=(k, m + 2) if which == 2 else (m, k + 3)).astype(np.float32)
            b = rng.normal(size=(n, k + 1) if which == 1 else (k, n + 5)).astype(np.float32)
            c = rng.normal(size=(m, n + 4)).astype(np.float32)
            left = a[:, :m].T if which == 2 else a[:, :k]
            right = b[:, :k].T if which == 1 else b[:, :n]
            expected = left.astype(np.float64) @ right + (c[:, :n] if which == 0 else 0)
            outside = c[:, n:].copy()
            call(a, b, c, which, m, n, k)
            np.testing.assert_allclose(c[:, :n], expected, atol=1e-5 * math.sqrt(k))
            np.testing.assert_array_equal(c[:, n:], outside)


TORCH = {"sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("clip", [1e9, 0.7])
@pytest.mark.parametrize("name", list(RULES))
def test_every_rule_is_that_of_torch(name, clip, decay):
    spec = Spec(optimizer=name, lr=0.01, weight_decay=decay, clip=clip, schedule="constant")
    rng, n = np.random.default_rng(0), 5000
    own = rng.normal(size=n).astype(np.float32)
    plain = torch.nn.Parameter(torch.from_numpy(own).double())
    optimizer = TORCH[name]([plain], lr=spec.lr, weight_decay=decay)
    coefficients = Optimizer([spec], torch.zeros(1, n), 20).coefficients(20)[0]
    rule, first, second = rule_of(spec), np.zeros(n, np.float32), np.zeros(n, np.float32)
    constants = np.array([1 - rule.b1, 1 - rule.b2, 0.0 if rule.decoupled else decay, clip])
    for root, floor, shrink in coefficients:
        gradient = (rng.normal(size=n) * 10.0 ** rng.integers(-4, 1, n)).astype(np.float32)
        gradient[::7] = 0
        plain.grad = torch.from_numpy(gradient).double()
        torch.nn.utils.clip_grad_norm_([plain], clip)
        optimizer.step()
        assert update.update(
            own, gradient, first, second, constants, dense.squares_of(gradient, 1, 1), root, floor, shrink
        )
    np.testing.assert_allclose(own, plain.detach(), atol=2e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(bad):
    rows = [np.random.default_rng(k).normal(size=5000).astype(np.float32) for k in range(4)]
    before = [row.copy() for row in rows]
    rows[1][4321] = before[1][4321] = bad
    one = np.float32(1)
    assert not update.update(
        *rows, np.array([0.1, 0.001, 0.1, 200.0]), dense.squares_of(rows[1], 1, 1), one, one, np.float32(0.9)
    )
    for row, was in zip(rows, before, strict=True):
        np.testing.assert_array_equal(row, was)


def test_squares_leave_out_what_is_not_ones_own():
    values = np.random.default_rng(0).normal(size=(500, 32)).astype(np.float32)
    for width in 32, 7:
        expected = (values[:, :width].astype(np.float64) ** 2).sum()
        assert dense.squares_of(values.reshape(-1), 32, width) == pytest.approx(expected, rel=1e-6)


def test_moments_never_become_denormal():
    n, one = 64, np.float32(1)
    own, first, second, none = (np.full(n, v, np.float32) for v in (1.0, 1e-20, 1e-30, 0.0))
    for _ in range(3000):
        update.update(own, none, first, second, np.array([0.1, 0.01, 0.0, 1.0]), 0.0, one, one, one)
    assert not first.any()
    assert not second.any()


def test_a_layout_has_room_for_the_rows_that_kernels_write():
    assert [dense.row_width(w) for w in (1, 16, 17, 784)] == [16, 16, 32, 784]
    assert Layout({"a": (3, 5)}).size % 16 == 0


@pytest.fixture
def no_numba(monkeypatch):
    monkeypatch.setattr(fused, "why_unavailable", lambda: "Numba needs NumPy 2.4 or less")


def test_without_numba_autograd_trains_and_the_output_says_so(no_numba, capsys):
    fused.tell_unavailable.cache_clear()
    data = from_arrays(np.random.default_rng(0).normal(size=(60, 3)))
    for _ in range(2):
        assert resolve_training(Spec(device="cpu"), data)["engine"] == "autograd"
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "numba cannot be used (Numba needs NumPy 2.4 or less)" in told
    with pytest.raises(InputError, match=r"`engine` = fused needs numba, .*; mend that, or use autograd"):
        resolve_training(Spec(device="cpu", engine="fused"), data)
    fused.tell_unavailable.cache_clear()


@pytest.mark.parametrize(
    ("numba_does", "environment", "reason"),
    [("raise RuntimeError('it is broken')", {}, "it is broken"), ("", {"NUMBA_DISABLE_JIT": "1"}, "is set")],
)
def test_a_numba_that_cannot_compile_is_told_though_kernels_are_prepared(tmp_path, numba_does, environment, reason):
    if numba_does:
        (tmp_path / "numba").mkdir()
        (tmp_path / "numba" / "__init__.py").write_text(numba_does)
    code = "from vaelab.engine import fused; print(fused.why_unavailable())"
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | environment | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert reason in done.stdout


def test_kernels_are_prepared_once_and_that_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fused, "folder", lambda: tmp_path)
    fused.prepare("json")
    assert "preparing kernels for this machine, once" in capsys.readouterr().err
    fused.prepare("json")
    assert capsys.readouterr().err == ""
    assert fused.why_unavailable() is None


def test_one_process_compiles_and_others_wait_for_it(tmp_path):
    """Else each might combine parts of the other's kernels with its own, which may round differently."""
    module = "import pathlib, time; time.sleep(0.5); print(1, file=pathlib.Path('compiled').open('a'))"
    (tmp_path / "slow_kernels.py").write_text(module)
    code = f"""
import pathlib
from vaelab.engine import fused
fused.folder = lambda: pathlib.Path({str(tmp_path)!r})
fused.prepare("slow_kernels")
"""
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = "".join(process.communicate()[1] for process in both)
    assert [process.returncode for process in both] == [0, 0], told
    assert (tmp_path / "compiled").read_text() == "1\n"
    assert told.count("preparing kernels") == 1
    assert told.count("waiting for the kernels") <= 1  # none, if the second process came late


def test_a_cache_that_cannot_be_written_is_replaced_by_a_temporary_folder(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.touch()  # no folder can be made below a file, by any user
    monkeypatch.setattr(fused.platformdirs, "user_cache_dir", lambda *_, **__: str(blocked / "cache"))
    monkeypatch.setattr(fused.tempfile, "gettempdir", lambda: str(tmp_path))
    fused.folder.cache_clear()
    try:
        assert fused.folder().is_dir()
        assert tmp_path in fused.folder().parents
        fused.folder.cache_clear()
        monkeypatch.setattr(fused.tempfile, "gettempdir", lambda: str(blocked))
        assert "cannot be written" in fused.why_unavailable.__wrapped__()
    finally:
        fused.folder.cache_clear()
