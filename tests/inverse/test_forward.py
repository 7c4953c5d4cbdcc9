"""Forward functions of users: what they take and return, their derivatives, and what is refused, in one line."""

import decimal
import math
import sys

import numpy as np
import pytest
import torch

from vaelab.errors import InputError
from vaelab.inverse import problems
from vaelab.inverse.conditional import cost
from vaelab.inverse.forward import UNKNOWN, ForwardFunction
from vaelab.inverse.python_function import function_of
from vaelab.inverse.refine import jacobian, refine

X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
NET = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
with torch.no_grad():
    for k, p in enumerate(NET.parameters()):
        p.copy_(torch.cos(torch.arange(p.numel()) + k).view_as(p))
STATIONS = torch.tensor([[0.0, 2.0], [3.0, 1.0]], dtype=torch.float64)


def network(x):
    """NET in NumPy, in double precision."""
    a, b, c, d = (p.detach().double().numpy() for p in NET.parameters())
    return np.tanh(x @ a.T + b) @ c.T + d


class Cube(torch.autograd.Function):
    """x^3 with a backward of its own, as of an adjoint solver: no rule for forward mode."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 3 * ctx.saved_tensors[0] ** 2 * g


class WrongCube(Cube):
    @staticmethod
    def backward(ctx, g):
        return ctx.saved_tensors[0] ** 2 * g


class PushedCube(torch.autograd.Function):
    """x^3 with rules for both modes."""

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, g):
        return 3 * ctx.saved_tensors[0] ** 2 * g

    @staticmethod
    def jvp(ctx, direction):
        return 3 * ctx.saved_tensors[0] ** 2 * direction


def doubled(x):
    x[:, 0] *= 2
    return x.sum(1)


def hidden(x):
    with torch.inference_mode():
        return x.sum(1) ** 2


cubed = lambda x: x**3  # noqa: E731
summed = lambda x: x.sum(1)  # noqa: E731
distances = lambda x: np.linalg.norm(x[:, None] - STATIONS.numpy(), axis=2)  # noqa: E731
USED = [  # function, the same in NumPy, how it takes x, derivative, precision
    (NET, network, "a float64 tensor", "forward", 1e-14),
    (lambda x: NET(x), network, "a float32 tensor", "forward", 1e-6),
    (lambda x: torch.sin(x.float()).sum(1), lambda x: np.sin(x).sum(1), "a float64 tensor", "forward", 1e-6),
    (lambda x: x.half().sum(1), summed, "a float64 tensor", "forward", 1e-2),
    (Cube.apply, cubed, "a float64 tensor", "reverse", 1e-14),
    (PushedCube.apply, cubed, "a float64 tensor", "forward", 1e-14),
    (WrongCube.apply, cubed, "a float64 tensor", "differences", 1e-14),
    (lambda x: torch.cdist(x, STATIONS), distances, "a float64 tensor", "reverse", 1e-12),
    (doubled, lambda x: 2 * x[:, 0] + x[:, 1], "a float64 tensor", "forward", 1e-14),
    (hidden, lambda x: x.sum(1) ** 2, "a float64 tensor", "differences", 1e-14),
    (lambda x: x[:, 0] * x[:, 1].detach(), lambda x: x[:, 0] * x[:, 1], "a float64 tensor", "differences", 1e-14),
    (lambda x: (x > 0).int(), lambda x: x > 0, "a float64 tensor", "differences", 0),
    (lambda x: np.sin(x.astype(float)), np.sin, "a NumPy array", "differences", 1e-14),
    (lambda x: torch.sin(200 * x), lambda x: np.sin(200 * x), "a float64 tensor", "forward", 1e-12),
    (lambda x: (1e4 + x.float()).sum(1), lambda x: 2e4 + x.sum(1), "a float64 tensor", "forward", 1e-6),
    (lambda x: (3 * x).to_sparse(), lambda x: 3 * x, "a float64 tensor", "reverse", 1e-14),
    ("x0 * x1", lambda x: x[:, 0] * x[:, 1], None, "forward", 1e-14),
]


@pytest.mark.parametrize(("function", "value", "takes", "derivative", "rtol"), USED)
def test_a_function_is_used_with_its_derivative(function, value, takes, derivative, rtol):
    own = X.copy()
    found, y = ForwardFunction.checked(function, own)
    assert (found.takes, found.derivative) == (takes, derivative)
    np.testing.assert_allclose(y, value(X[:100]), rtol=rtol, atol=rtol)
    np.testing.assert_array_equal(own, X)  # whatever the function does to its x
    assert found(torch.ones(3, 2)).dtype == torch.float32
    if derivative == "differences" and (value(X) == value(X).round()).all():
        return
    u = torch.from_numpy(X[:20])
    flat = lambda v: found(v).reshape(len(v), -1)  # noqa: E731
    steps = 1e-5 * np.eye(2)
    slopes = np.stack([(value(X[:20] + e) - value(X[:20] - e)).reshape(20, -1) / 2e-5 for e in steps], 2)
    np.testing.assert_allclose(jacobian(flat, u, found.derivative), slopes, rtol=1e-3, atol=max(1e-3, 10 * rtol))


def read_only(y):
    y.flags.writeable = False
    return y


FORMS = {  # in which NumPy holds numbers, of which torch takes none
    "of the other byte order": lambda y: y.astype(y.dtype.newbyteorder()),
    "of a longer type": lambda y: y.astype(np.longdouble),
    "backwards in memory": lambda y: y[::-1].copy()[::-1],
    "read-only": lambda y: read_only(y.copy()),
    "of objects": lambda y: y.astype(object),
    "of decimals": lambda y: np.array([decimal.Decimal(value) for value in y.tolist()]),
    "of subclasses": lambda y: y.view(np.recarray),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_numbers_are_used_in_whatever_form_numpy_holds_them(form):
    y = X[:, 0] + 2 * X[:, 1]
    for own in (
        problems.create("f", X, None, lambda x: form(x.numpy()[:, 0] + 2 * x.numpy()[:, 1])),
        problems.create("pairs", X, form(y), None),
    ):
        np.testing.assert_array_equal(own.y, y)
        np.testing.assert_array_equal(own.curves(form(y)), y)
    assert ForwardFunction.checked(lambda x: form(x.numpy()[:, 0]), X)[0].precision == 2.0**-52
    single = ForwardFunction.checked(lambda x: x.numpy()[:, 0].astype(">f4"), X)[0]
    assert single.precision == 2.0**-23


MASKED = {  # as netCDF and FITS are read: a fill value is under the mask
    "doubles": lambda y, mask: np.ma.array(np.where(mask, -999.0, y), mask=mask),
    "of the other byte order": lambda y, mask: np.ma.array(np.where(mask, -999, y).astype(">f8"), mask=mask),
    "objects": lambda y, mask: np.ma.array(np.where(mask, "failed", y.astype(object)), mask=mask),
}


@pytest.mark.parametrize("masked", MASKED.values(), ids=MASKED)
def test_what_is_masked_is_not_known(masked):
    fails = X[:, 0] < -0.5
    of_function = lambda x: masked(x.numpy()[:, 1], x.numpy()[:, 0] < -0.5)  # noqa: E731
    for own in (
        problems.create("f", X, None, of_function),
        problems.create("pairs", X, masked(X[:, 1], fails), None),
        problems.create("rows", X, [masked(X[[k], 1], fails[[k]]) for k in range(len(X))], None),
    ):
        assert own.failed == fails.sum() > 0
        np.testing.assert_array_equal(own.y.ravel(), X[~fails, 1])
    both = problems.create("pairs", X, X, None)
    measured = both.curves(np.ma.array([[0.1, -999.0]], mask=[[False, True]]))
    np.testing.assert_array_equal(measured, [[0.1, np.nan]])
    np.testing.assert_array_equal(both.curves([np.ma.array([0.1, -999.0], mask=[False, True])]), measured)
    with pytest.raises(InputError, match="x must be finite"):
        problems.create("x", np.ma.array(X, mask=X < 0), X[:, 0], None)


def test_a_function_in_a_file_may_import_its_neighbours_when_it_is_called(tmp_path, monkeypatch):
    (tmp_path / "beam_parts.py").write_text("def f(x):\n    return x.sum(1)\n")
    (tmp_path / "this.py").write_text("raise SystemExit('not the module of Python')\n")
    (tmp_path / "beam.py").write_text(
        "import torch\n\ndef f(x):\n    import this, beam_parts\n    return beam_parts.f(x)\n\n"
        "class Net(torch.nn.Module):\n    def forward(self, x):\n        return x.sum(1)\n\nnet = Net()\n"
    )
    for name in ("beam_parts", "this", "forward_beam"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = list(sys.path)
    found, y = ForwardFunction.checked(function_of(f"{tmp_path}/beam.py:f"), X)
    np.testing.assert_allclose(y, X[:100].sum(1))
    assert found.derivative == "forward"
    assert str(tmp_path) not in str(sys.modules["this"].__file__)
    assert sys.path == before
    assert isinstance(function_of(f"{tmp_path}/beam.py:net"), torch.nn.Module)


RANDOM = torch.nn.Sequential(NET, torch.nn.Dropout(0.3))
BATCH = torch.nn.Sequential(NET, torch.nn.BatchNorm1d(2))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (torch.fft.fft, "returns real numbers, but this one gave the type torch.complex128"),
        (lambda x: tuple(x.unbind(1)), "gave a tuple; for several outputs use torch.stack"),
        (lambda x: x.tolist(), "gave a list"),
        (lambda x: 1.0, "gave a float"),
        (lambda x: None, "gave a NoneType"),
        (lambda x: np.array([None] * len(x)), "gave an array of type object"),
        (lambda x: np.zeros(len(x), "M8[s]"), r"gave an array of type datetime64\[s\]; convert it to numbers"),
        (lambda x: x.numpy().astype(str), "gave an array of type <U32; convert it"),
        (lambda x: np.array([10**400] * len(x)), "gave an array of type object"),
        (lambda x: x.numpy().astype(np.clongdouble), "real numbers, but this one gave the type complex256"),
        (lambda x: x[:, :0], r"at least one number for each x, but this one maps \(100, 2\) to \(100, 0\)"),
        (lambda x: np.zeros((len(x), 3, 0)), "at least one number for each x"),
        (lambda x: x.sum(), r"must keep the first axis of x, but maps \(100, 2\) to \(\)"),
        (lambda x: x[x[:, 0] > 0, 0], "must keep the first axis"),
        (lambda x: x[:, :1].squeeze(), r"must keep the first axis of x, but maps \(1, 2\) to \(\)"),
        (RANDOM, "is random"),
        (lambda x: x + torch.rand(len(x), 1), "is random"),
        (BATCH, r"mixes the examples of a batch.*call eval\(\)"),
        (lambda x: (x - x.mean(0)).sum(1), "mixes the examples"),
        (lambda x: x.sum(1).sort().values, "mixes the examples"),
        (lambda x: x.unsqueeze(1) @ torch.ones(3, 1), r"failed on a float64 tensor of shape \(100, 2\): RuntimeError"),
        (lambda x: np.linalg.inv(x.astype(float)), "failed on a NumPy array of shape .*: LinAlgError"),
        (lambda x: 1 / 0, "ZeroDivisionError: division by zero; where it cannot compute y it must return NaN"),
        (lambda x: __import__("no_such_module"), "ModuleNotFoundError: .*; call it with such an x to see where"),
        (lambda x: undefined, "NameError: .*; call it with such an x to see where"),  # noqa: F821
        (lambda x: x.no_such_attribute, "AttributeError: .*; call it with such an x to see where"),
        (lambda x: sys.exit("no licence"), "SystemExit: no licence; call it with such an x to see where"),
        (lambda x: x.sum(1) * math.nan, "NaN or infinite for all of the first 100"),
        (3, r"or expressions such as \['x0 \* x1'\], but got 3"),
        (["x0", 3], "or expressions such as"),
        ([], "at least one expression"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once_in_one_line(function, message):
    with pytest.raises(InputError, match=message) as refused:
        problems.create("own", X, None, function)
    assert "\n" not in str(refused.value)


def test_a_module_stays_as_it_is():
    problem = problems.create("net", X, None, NET)
    assert all(p.dtype == torch.float32 and p.requires_grad and p.grad is None for p in NET.parameters())
    assert not problem.forward(torch.from_numpy(X)).requires_grad
    assert ForwardFunction.checked(RANDOM.eval(), X)[0].takes == ForwardFunction.checked(BATCH.eval(), X)[0].takes


@pytest.mark.parametrize("function", [row[0] for row in USED if row[3] != "differences"])
def test_a_misfit_can_be_trained_wherever_there_is_a_gradient(function):
    found, _ = ForwardFunction.checked(function, X)
    x = torch.from_numpy(X[:5]).requires_grad_()
    (gradient,) = torch.autograd.grad(found(x).sum(), x)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("function", [Cube.apply, WrongCube.apply, PushedCube.apply, lambda x: np.power(x.numpy(), 3)])
def test_refinement_solves_with_each_kind_of_derivative(function):
    found, _ = ForwardFunction.checked(function, X)
    target = torch.tensor([[0.5, -0.2]], dtype=torch.float64)
    out = refine(found, 0.7 * target.sign(), target, 20, derivative=found.derivative)
    np.testing.assert_allclose(out.u, np.cbrt(target.numpy()), atol=1e-5)


def test_simulations_that_fail_are_left_out_and_counted():
    function = lambda x: torch.where(x[:, 0] > -0.5, x[:, 0] ** 2, math.nan)  # noqa: E731
    kept = X[X[:, 0] > -0.5]
    problem = problems.create("some", X, None, function)
    assert problem.failed == len(X) - len(kept) > 0
    np.testing.assert_array_equal(problem.x, kept)
    np.testing.assert_allclose(problem.y, kept[:, 0] ** 2)
    assert not problem.is_noisy
    y = np.where(X > -0.5, X, np.nan)  # computed elsewhere, with some outputs missing
    some = problems.create("some", X, y, None)
    assert some.failed == (X <= -0.5).all(1).sum()
    assert some.gaps == (X <= -0.5).any(1).sum() - some.failed
    with pytest.raises(InputError, match=r"at least one number each, but has the shape \(200, 0\)"):
        problems.create("none", X, X[:, :0], None)
    with pytest.raises(InputError, match="at least 10 examples need a finite y, but 195 of 200 are NaN or infinite"):
        problems.create("few", X, np.where(np.arange(200) < 5, 1.0, np.inf), None)


@pytest.mark.parametrize(
    ("y", "slope"),
    [
        (lambda f: 1000 * f, "the slope 1000 instead of 1"),
        (lambda f: -f, "the slope -1 instead of 1"),
        (lambda f: f + 50, "contradict"),
        (lambda f: np.stack([f[:, 0], 2 * f[:, 1]], 1), "output 1 of y is .* the slope 2 instead"),
        (lambda f: f[::-1], "contradict"),
    ],
)
def test_a_formula_that_contradicts_y_is_said(y, slope):
    forward = ["x0 + 2*x1", "x0 * x1"]
    f = np.stack([X @ [1, 2], X[:, 0] * X[:, 1]], 1)
    with pytest.raises(InputError, match=slope):
        problems.create("wrong", X, y(f), forward)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("noise", [0.01, 1.0, 10.0])
def test_noise_is_no_contradiction(noise, seed):
    y = X[:, 0] + noise * np.random.default_rng(seed).standard_normal(200)
    assert problems.create("noisy", X, y, ["x0"]).is_noisy


def test_without_a_forward_function_only_solutions_are_missing():
    problem = problems.create("pairs", X, X[:, 0] ** 2, None)
    assert problem.forward is UNKNOWN
    assert problem.is_noisy
    assert not problem.is_differentiable
    assert callable(cost(problem, None))
    with pytest.raises(InputError, match="solutions need the forward function"):
        problem.forward(torch.from_numpy(X))
