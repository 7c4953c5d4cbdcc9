"""The conditional VAE: its seam to the engine, its gradients, its posterior against a closed form, its folder."""

import math

import numpy as np
import pytest
import torch

from vaelab.engine.training import Stack, epochs
from vaelab.errors import InputError, StoreError
from vaelab.inverse import conditional, problems, search
from vaelab.inverse.config import InversionConfig
from vaelab.inverse.fitted import Inverter
from vaelab.inverse.spec import FIXED, settings_rows, spec_of, specs_of
from vaelab.inverse.training import train
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.learning import Variational
from vaelab.vae.objectives import Noise, Weights
from vaelab.vae.spec import Spec

pytestmark = pytest.mark.slow

QUICK = {"hidden": "32", "latent_dim": 2, "epochs": 3, "batch_size": 50}


@pytest.fixture(scope="module")
def easy():
    return problems.built_in("two-birds-easy", train=600, validation=60, score=6)


def stack_of(problem, settings, spectrum=False):
    data, space = conditional.as_table(problem, spectrum)
    specs = [resolve(spec_of(problem, {**QUICK, **own}), data) for own in settings]
    method = Variational(cost=conditional.cost(problem, space))
    return Stack(specs, Feed(data, specs[0], space.scaling), method), space


def audited(stack):
    """What the audit says of the objective that a stack is trained by."""
    return conditional.audit(stack, stack.method.objective(stack.specs[0]))


def test_the_way_to_the_model_and_back(easy):
    for spectrum in (False, True):
        data, space = conditional.as_table(easy, spectrum)
        x, y = easy.rows("validation")
        np.testing.assert_allclose(space.x_own(space.x_model(x)), x, atol=1e-9)
        np.testing.assert_allclose(space.y_relative(space.y_model(y)), easy.relative_y(y), atol=5e-3)
        feed = Feed(data, resolve(spec_of(easy, {}), data), space.scaling)
        rows = feed.gather(feed.rows("validation"))
        torch.testing.assert_close(rows[:, : space.x.size].double(), space.x_model(x), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(rows[:, space.x.size :].double(), space.y_model(y), atol=1e-2, rtol=1e-3)
        assert abs(rows.mean()) < 0.2


def test_a_conditional_model_is_what_plain_layers_compute(easy):
    """Encoder on [x, y], decoder on [y, z], from the member's own weights by torch.nn.functional."""
    stack, _ = stack_of(easy, [{"hidden": "20-7", "latent_dim": 3}])
    model, spec = stack.model, stack.specs[0]
    own = model.unpad(stack.parameters[0], spec)
    row = model.pad(own, spec)
    assert torch.equal(row, stack.parameters[0])
    D, C = model.features, model.condition
    assert own["encoder.0.weight"].shape == (D + C, 20)
    assert own["decoder.0.weight"].shape == (C + 3, 7)
    rows, z = torch.randn(1, 5, D + C), torch.randn(1, 5, 3)
    padded = torch.nn.functional.pad(z, (0, model.latent - 3))

    def run(name, h):
        for i in range(3):
            h = h @ own[f"{name}.{i}.weight"] + own[f"{name}.{i}.bias"]
            h = torch.nn.functional.silu(h) if i < 2 else h
        return h

    with torch.no_grad():
        q = model.encode(stack.leaves, rows)
        torch.testing.assert_close(q.mean[..., :3], run("encoder", rows)[..., :3])
        decoded = model.decode(stack.leaves, padded, y=model.split(rows)[1])
        torch.testing.assert_close(decoded, run("decoder", torch.cat([rows[..., D:], z], -1)))


@pytest.mark.parametrize("wy", [(0.0, 0.0, 0.0), (0.1, 0.5, 2.0)])
@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_members_of_a_conditional_stack_get_the_bits_that_they_get_alone(easy, engine, wy):
    settings = [
        {"latent_dim": 2, "seed": 1, "lr": 1e-3},
        {"latent_dim": 4, "seed": 2, "hidden": "20"},
        {"latent_dim": 3, "seed": 3, "wx": 2.0, "beta": 0.5},
    ]
    settings = [{**own, "engine": engine, "wy": weight} for own, weight in zip(settings, wy, strict=True)]
    together, _ = stack_of(easy, settings)
    list(epochs(together))
    for k, own in enumerate(settings):
        alone, _ = stack_of(easy, [own])
        list(epochs(alone))
        assert torch.equal(alone.parameters[0], together.parameters[k])


def test_the_loss_is_the_weighted_sum_of_its_terms_per_example(easy):
    stack, space = stack_of(easy, [{"wy": 2.5, "wx": 0.7, "beta": 3.0}])
    rows = stack.feed.gather(stack.feed.rows("train")[:40])[None]
    noise = Noise(torch.randn(1, 40, stack.model.latent) * (torch.arange(stack.model.latent) < 2))
    weights = Weights(
        *(torch.tensor([[v]]) if v is not None else None for v in (3.0, None)),
        1,
        torch.tensor([[0.7]]),
        torch.tensor([[2.5]]),
    )
    objective = stack.method.objective(stack.specs[0])
    terms = objective(stack.model, stack.leaves, rows, noise, weights)
    expected = (3.0 * terms.rate + 0.7 * terms.distortion + 2.5 * terms.misfit).mean(1)
    torch.testing.assert_close(terms.loss, expected)
    assert set(terms.stored) == {"distortion", "rate", "misfit"}
    with torch.no_grad():  # the misfit, by NumPy from the decoded lines
        _, y = stack.model.split(rows)
        z = stack.model.encode(stack.leaves, rows).sample(noise.normal)
        lines = space.x_own(stack.model.decode(stack.leaves, z, y=y)[0].double()).numpy()
    a, b = lines[:, 0], lines[:, 1]
    residual = np.stack([np.sin(5 * a + 3 * b), np.cos(4 * a + 8 * b)], 1) - easy.rows("train")[1][:40]
    np.testing.assert_allclose(terms.misfit[0].detach(), 0.5 * (residual**2).sum((1, 2)), rtol=1e-2)
    # twice the batch, the same examples: the same loss, so batch size changes no weight
    twice = objective(stack.model, stack.leaves, rows.repeat(1, 2, 1), Noise(noise.normal.repeat(1, 2, 1)), weights)
    torch.testing.assert_close(twice.loss, terms.loss)


def test_the_gradient_of_the_misfit_is_that_of_finite_differences(easy):
    stack, _ = stack_of(easy, [{"wy": 1.0}])
    rows = stack.feed.gather(stack.feed.rows("train")[:8])[None].double()
    noise = Noise(torch.randn(1, 8, stack.model.latent, dtype=torch.float64) * (torch.arange(stack.model.latent) < 2))
    one = torch.ones(1, 1, dtype=torch.float64)
    weights = Weights(one, None, 1, one, one)
    buffer, objective = stack.parameters.double().requires_grad_(), stack.method.objective(stack.specs[0])

    def loss(values):
        terms = objective(stack.model, stack.model.layout.views(values), rows, noise, weights)
        return terms.misfit.sum()

    (gradient,) = torch.autograd.grad(loss(buffer), buffer)
    direction = torch.randn(buffer.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * (
        gradient != 0
    )
    with torch.no_grad():
        slope = (loss(buffer + 1e-6 * direction) - loss(buffer - 1e-6 * direction)) / 2e-6
    assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-5)
    assert gradient.abs().max() > 0


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: (x[:, :1] * 2).detach(),
        lambda x: torch.round(x[:, :1]),
        lambda x: torch.ones_like(x[:, :1]) + 0 * x[:, :1],
    ],
)
def test_the_audit_names_a_dead_misfit(forward):
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(300, 2))
    y = forward(torch.from_numpy(x)).numpy() + 0.01 * rng.standard_normal((300, 1))
    problem = problems.create("dead", x, y, forward)
    with pytest.raises(InputError, match="`wy` needs a forward function with a gradient"):
        spec_of(problem, {**QUICK, "wy": 1.0})
    data, space = conditional.as_table(problem)
    spec = resolve(Spec.create(**{**QUICK, "wy": 1.0, "device": "cpu"}), data)
    stack = Stack([spec], Feed(data, spec, space.scaling), Variational(cost=conditional.cost(problem, space)))
    with pytest.raises(InputError, match="the term misfit has no gradient"):
        audited(stack)
    train(problem, specs_of(problem, {**QUICK, "epochs": 1}), flow=False)  # wy = 0 ranks only


def test_the_audit_passes_live_terms(easy):
    stack, _ = stack_of(easy, [{"wy": 1.0}])
    assert set(audited(stack)) == {"distortion", "rate", "misfit"}


def test_a_linear_gaussian_posterior_is_reached():
    """x ~ N(0, I), y = A x + 0.5 e. Mean and covariance of 1,000 draws within 3 standard errors of the exact ones."""
    rng = np.random.default_rng(0)
    A = np.array([[1.0, 0.5], [-0.4, 0.8], [0.3, 0.3]])
    x = rng.standard_normal((20_000, 2))
    y = x @ A.T + 0.5 * rng.standard_normal((20_000, 3))
    problem = problems.create("linear", x, y, lambda v: v @ torch.from_numpy(A.T).to(v), noise=0.5)
    settings = {"hidden": "none", "latent_dim": 2, "epochs": 40, "batch_size": 200, "lr": 5e-3}
    model = train(problem, specs_of(problem, settings), flow=False)
    precision = np.eye(2) + A.T @ A / 0.25
    covariance = np.linalg.inv(precision)
    measured = np.array([[0.7, -0.3, 0.5], [-1.0, 1.0, 0.2]])
    n = 1_000
    for own, draws in zip(measured, model.draw(measured, n).x, strict=True):
        mean = covariance @ A.T @ own / 0.25
        assert (np.abs(draws.mean(0) - mean) < 3 * np.sqrt(np.diag(covariance) / n)).all()
        found = np.cov(draws, rowvar=False)
        error = np.sqrt((covariance**2 + np.outer(np.diag(covariance), np.diag(covariance))) / n)
        assert (np.abs(found - covariance) < 3 * error).all()


def test_a_run_folder_round_trips(easy, tmp_path):
    model = train(easy, specs_of(easy, {**QUICK, "epochs": 1}))
    saved = model.save(tmp_path / "run", {"validation": {}})
    again = Inverter.load(tmp_path / "run")
    _, y = easy.rows("test")
    np.testing.assert_array_equal(model.candidates(y, 5)[0], again.candidates(y, 5)[0])
    np.testing.assert_array_equal(saved.draw(y, 4).x, again.draw(y, 4).x)
    assert again.problem.family is easy.family
    assert again.problem.gate == easy.gate
    assert len(again.solve(y[0], n=50, refine=30)[0]) >= 1
    with pytest.raises(InputError, match=r"must have the shape \(n, 2, 50\)"):
        again.solve(np.zeros((2, 49)))
    with pytest.raises(StoreError, match="is the run of an inverse problem"):
        Fitted.load(tmp_path / "run")
    (tmp_path / "run" / "problem.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(StoreError):
        Inverter.load(tmp_path / "run")


def test_a_python_forward_function_is_given_again(tmp_path):
    x = np.random.default_rng(0).uniform(size=(300, 2))
    forward = lambda v: v[:, :1] + v[:, 1:]  # noqa: E731
    problem = problems.create("sum", x, None, forward)
    model = train(problem, specs_of(problem, {**QUICK, "epochs": 1}))
    model.save(tmp_path / "run", {})
    with pytest.raises(InputError, match="give it again by `forward`"):
        Inverter.load(tmp_path / "run")
    solved = Inverter.load(tmp_path / "run", forward).solve([[1.0]], 20, 10)[0]
    np.testing.assert_allclose(solved.x.sum(1), 1, atol=0.1)


def test_a_search_is_repeatable_and_chooses_by_validation(easy, tmp_path):
    space = {"lr": (1e-3, 1e-2, "log"), "latent_dim": (1, 3), "wy": (0.0, 0.1)}
    fixed = {"hidden": "32", "epochs": 1, "batch_size": 50}

    def searched(name, **options):
        config = InversionConfig.create(easy, fixed, space, trials=3, samples=3, refine=3, seed=1, **options)
        (tmp_path / name).mkdir()
        return search.search(easy, config, tmp_path / name)

    spec, trials = searched("one")
    assert [t.number for t in trials] == [0, 1, 2]
    again, repeated = searched("two")
    assert spec == again
    assert [(t.settings, t.value) for t in trials] == [(t.settings, t.value) for t in repeated]
    best = max(trials, key=lambda t: t.value)
    assert spec.lr == best.settings["lr"]
    bound, by_bound = searched("three", yardstick="bound")
    assert bound.lr == min(by_bound, key=lambda t: t.value).settings["lr"]
    assert all(math.isfinite(t.metrics["rate"]) for t in trials)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"yardstick": "loss"}, "unknown `yardstick`"),
        ({"trials": -1}, "must be a whole number from 0"),
        ({"space": {"sigma": [0.1, 0.2]}}, "`sigma` cannot be searched"),
        ({"space": {"lr": (1e-2, 1e-3)}}, "low <= high"),
    ],
)
def test_a_bad_search_is_refused_before_training(easy, arguments, message):
    with pytest.raises(InputError, match=message):
        InversionConfig.create(easy, {}, **{"space": {"lr": (1e-3, 1e-2)}, "trials": 2, **arguments})


def test_ordinary_training_refuses_the_weights_of_inverse_problems(digits):
    for name, value in (("wy", 0.5), ("wx", 2.0)):
        with pytest.raises(InputError, match=f"`{name}` weights a term of an inverse problem"):
            resolve(Spec.create(**{name: value}), digits)


def test_settings_are_listed_with_the_defaults_of_a_model():
    problem = problems.create("sum", np.random.default_rng(0).uniform(size=(30_000, 2)), None, ["x0 + x1"])
    (spec,) = specs_of(problem, {})
    rows = {name: default for name, default, _, _ in settings_rows()}
    assert set(rows) == set(Spec.model_fields) - set(FIXED)
    for name in ("latent_dim", "batch_size", "epochs", "lr", "schedule", "clip"):
        assert rows[name].split(";")[0] == str(getattr(spec, name))
    assert rows["hidden"].split(";")[0] == "-".join(map(str, spec.hidden))
    for name, value in (("network", "conv"), ("binarize", "fixed"), ("samples", 2)):
        with pytest.raises(InputError):
            specs_of(problem, {name: value})
