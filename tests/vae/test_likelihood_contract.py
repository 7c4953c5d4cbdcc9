"""What every likelihood in the registries must hold, whatever it is: nothing here knows one by its name.

The truth is quadrature, frequencies of draws with their standard errors, and finite differences.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import vaelab
from typed import counts, every_kind
from vaelab.api.train import train
from vaelab.data import Column, Dataset, from_arrays
from vaelab.data.scaling import Scaling
from vaelab.engine.training import Stack, epochs
from vaelab.errors import InputError
from vaelab.vae.evaluate import nll
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.learning import Variational
from vaelab.vae.likelihoods import COLUMN_LIKELIHOODS, LIKELIHOODS
from vaelab.vae.likelihoods.likelihood import (
    ColumnLikelihood,
    Likelihood,
    column_likelihood_type,
    likelihood_for,
    likelihood_type,
)
from vaelab.vae.spec import Spec

D = 3
COLUMNS = [Column(f"c{n}", "ordinal", tuple("abcd"[:n]), (0.0, 1.0, 2.0, 3.0)[:n]) for n in (2, 4, 3)]


@functools.cache
def tables() -> dict[str, Dataset]:
    """Each suits some likelihoods."""
    rng = np.random.default_rng(0)
    return {
        "image": from_arrays(rng.integers(0, 256, (40, 1, D)).astype(np.uint8)),
        "table": from_arrays(rng.random((40, D)).astype(np.float32)),
        "every kind": every_kind(200),
        "counts": counts(80, gaps=0.1),
    }


@dataclasses.dataclass
class Case:
    """A noise model of `features` features; a whole one also has the scaling of the table that it describes."""

    likelihood: ColumnLikelihood
    features: int
    kinds: tuple[str, ...] = ()
    scaling: Scaling | None = None

    @property
    def is_sized(self):
        """Whether its counts are relative to the size of a row, so that cells are independent given that only."""
        return self.scaling is not None and self.scaling.typed is not None and self.scaling.typed.has_size

    @property
    def allows_gaps(self):
        return self.scaling is not None and self.scaling.typed is not None

    def cost(self, outputs, x, own):
        """The cost of each cell, 0 where missing."""
        if self.allows_gaps:
            return self.likelihood.cost(outputs, x, own)
        filled = torch.where(torch.isnan(x), self.likelihood.neutral, x)
        return self.likelihood.cost(outputs, filled, own).masked_fill(torch.isnan(x), 0.0)

    def total(self, outputs, x, own):
        """The cost of each row, as training computes it."""
        if isinstance(self.likelihood, Likelihood):
            return self.likelihood.nll(outputs, x, own)
        return self.cost(outputs, x, own).sum(-1)

    def volume(self, x):
        """d own / d model of each feature at rows x (n, D), by differences: densities are in the data's own units."""
        if not self.allows_gaps:
            return np.ones(x.shape)
        step = 1e-4
        with np.errstate(over="ignore", invalid="ignore"):
            ends = [self.scaling.to_own(x + s, (len(self.scaling.fill),))[:, self.scaling.kept] for s in (step, -step)]
            return (ends[0] - ends[1]) / (2 * step)


def refused(name, table):
    try:
        likelihood_type(name).scaling(tables()[table], Spec(likelihood=name))
    except InputError:
        return True
    return False


WHOLE = [(name, t, s) for name in LIKELIHOODS for t in tables() if not refused(name, t) for s in ("auto", 0.6)]
PARTS = [(name, None, sigma) for name in COLUMN_LIKELIHOODS for sigma in ("auto", 0.6)]


def case_of(name, table, sigma):
    if table is None:
        least = torch.tensor([1e-3, 0.05, 1e-2], dtype=torch.float64)
        spec = Spec(likelihood="mixed", sigma=sigma)
        return Case(column_likelihood_type(name).for_columns(spec, COLUMNS, least), D, ("ordinal",) * D)
    data, spec = tables()[table], Spec(likelihood=name, sigma=sigma)
    scaling = likelihood_type(name).scaling(data, spec)
    kinds = () if scaling.typed is None else tuple(column.kind for column in scaling.typed.columns)
    features = data.flat.shape[1] if scaling.kept is None else len(scaling.kept)
    return Case(likelihood_for(spec, data.is_image, scaling), features, kinds, scaling)


@pytest.fixture(params=WHOLE + PARTS, ids=lambda c: "-".join(str(v) for v in (c[0], c[1] or "columns", c[2])))
def case(request):
    return case_of(*request.param)


@pytest.fixture(params=WHOLE, ids=lambda c: "-".join(map(str, c)))
def whole(request):
    return case_of(*request.param)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def example(case, rows=4, members=2, gaps=0.0, level=-1.0):
    """Outputs (K, B, head), own parameters (K, ...) and x (K, B, D) drawn from them, in float64."""
    likelihood, features = case.likelihood, case.features
    outputs = torch.randn(members, rows, likelihood.head(features), generator=generator(), dtype=torch.float64)
    own = {
        name: 0.3 * torch.randn(members, *shape, generator=generator(1), dtype=torch.float64) + level
        for name, shape in likelihood.shapes(features).items()
    }
    x = likelihood.sample(outputs, own, generator(2)).double()
    if case.allows_gaps:
        x = x.masked_fill(torch.rand(x.shape, generator=generator(3)) < gaps, torch.nan)
    return outputs, own, x


def drawn(case, rows=2_001, seed=0, spread=1.5, level=-1.0):
    """Rows (n, D) that a likelihood itself draws, about outputs that vary together."""
    likelihood = case.likelihood
    z = torch.randn(1, rows, 1, generator=generator(seed), dtype=torch.float64)
    outputs = (spread * z).expand(1, rows, likelihood.head(case.features))
    own = {n: torch.full((1, *s), level, dtype=torch.float64) for n, s in likelihood.shapes(case.features).items()}
    return likelihood.sample(outputs, own, generator(seed + 1))[0].double()


def with_gaps(x, share=0.2):
    return x.masked_fill(torch.rand(x.shape, generator=generator(9)) < share, torch.nan)


def test_own_parameters_are_named_shaped_and_finite_even_for_columns_without_values(case):
    likelihood, x = case.likelihood, drawn(case, rows=100).float()
    shapes = likelihood.shapes(case.features)
    assert all(name.startswith("likelihood.") for name in shapes)
    if case.allows_gaps or not isinstance(likelihood, Likelihood):
        x = with_gaps(x)
        x[:, 1] = torch.nan
    initial, start = likelihood.initial(x), likelihood.start(x)
    assert {name: tuple(value.shape) for name, value in initial.items()} == shapes
    assert all(value.dtype == torch.float32 for value in initial.values())
    assert all(bool(torch.isfinite(value).all()) for value in initial.values())
    assert start.shape == (likelihood.head(case.features),)
    assert bool(torch.isfinite(start).all())
    assert float(start.abs().max()) <= 60
    refit = likelihood.refit(start.float().expand(len(x), -1), x)
    assert all(bool(torch.isfinite(value).all()) for value in refit.values())


def test_probabilities_add_up_to_one_and_draws_follow_them(case):
    """A density by quadrature; a mass over whole numbers. Means, quantiles and frequencies by 40,000 draws."""
    if case.is_sized:
        pytest.skip("draws are also of the size of their row")
    likelihood, n = case.likelihood, 40_000
    outputs, own, x = example(case, rows=1, members=1, level=0.5)
    many = likelihood.sample(outputs.expand(1, n, -1), own, generator(3))[0].double()
    mean = likelihood.mean(outputs, own)[0, 0]

    def probability(values, feature):
        rows = x[0].repeat(len(values), 1)
        rows[:, feature] = torch.as_tensor(values)
        return torch.exp(-case.cost(outputs.expand(1, len(rows), -1), rows[None], own)[0, :, feature]).numpy(), rows

    for d in range(case.features):
        one = many[:, d].numpy()
        if (one == np.round(one)).all():
            values = np.arange(one.max() + 1)
            p, _ = probability(values, d)
            found = np.bincount(one.astype(int), minlength=len(values)) / n
            assert p.sum() == pytest.approx(1, abs=1e-3)
            assert np.all(np.abs(found - p) < 5 * np.sqrt(p / n) + 5e-5)
        else:
            center = float(mean[d])
            u = np.linspace(-9, 9, 40_001)
            p, rows = probability(center + np.sinh(u), d)
            mass = np.where(p > 0, p * np.nan_to_num(case.volume(rows.numpy())[:, d]), 0.0) * np.cosh(u)
            below = np.concatenate([[0], np.cumsum((mass[1:] + mass[:-1]) / 2 * np.diff(u))])
            assert below[-1] == pytest.approx(1, abs=1e-5)
            for share in (0.1, 0.5, 0.9):
                at = float(np.interp(np.quantile(one, share), center + np.sinh(u), below))
                assert abs(at - share) < 5 * math.sqrt(share * (1 - share) / n)
        values, times = np.unique(one, return_counts=True)
        is_mean = abs(one.mean() - float(mean[d])) < 5 * one.std() / math.sqrt(n)
        # Of levels, `mean` is the most frequent one.
        assert is_mean or (len(values) <= 10 and float(mean[d]) == values[times.argmax()])


def test_gradients_agree_with_finite_differences(case):
    outputs, own, x = example(case, gaps=0.3)
    x = torch.where(x == x.round(), x, x + 0.01)  # off the kinks that a draw may hit
    leaves = [outputs.requires_grad_(), *(value.requires_grad_() for value in own.values())]

    def function(outputs, *values):
        views = {name: value[:, None] for name, value in zip(own, values, strict=True)}
        return case.total(outputs[:, None], x[:, None], views)[:, 0]

    assert torch.autograd.gradcheck(function, leaves, eps=1e-6, atol=1e-5, rtol=1e-4)


def test_missing_cells_cost_nothing_and_pull_nothing():
    case = case_of("mixed", "every kind", "auto")
    outputs, own, x = example(case)
    whole = case.cost(outputs, x, own)
    for d in range(case.features):
        one = x.clone()
        one[..., d] = torch.nan
        costs = case.cost(outputs.requires_grad_(), one, own)
        assert not costs[..., d].any()
        others = [j for j in range(case.features) if j != d]
        torch.testing.assert_close(costs[..., others], whole[..., others])
        only = torch.full_like(x, torch.nan)
        only[..., d] = x[..., d]
        (of_one,) = torch.autograd.grad(case.cost(outputs, only, own).sum(), outputs)
        (of_others,) = torch.autograd.grad(costs.sum(), outputs)
        assert not ((of_one != 0) & (of_others != 0)).any()
    leaves = [outputs, *(value.requires_grad_() for value in own.values())]
    cost = case.total(outputs, torch.full_like(x, torch.nan), own)
    assert not cost.any()
    assert not any(g.any() for g in torch.autograd.grad(cost.sum(), leaves, materialize_grads=True))


def can_grow(case):
    """Which features (D,) have values without bounds: not those that never are drawn above the number of levels."""
    return drawn(case, spread=8.0).amax(0) > 4


@pytest.mark.parametrize("far", [1.0, 1e4, 1e6])
@pytest.mark.parametrize("size", [-80.0, 80.0])
def test_extreme_outputs_and_values_cost_finitely_and_pull_finitely(case, size, far):
    likelihood = case.likelihood
    _, own, x = example(case, members=1)
    own = {name: value.float().requires_grad_() for name, value in own.items()}
    x = torch.where(can_grow(case), x * far, x)
    outputs = torch.full((1, 4, likelihood.head(case.features)), size, requires_grad=True)
    cost = case.total(outputs, x.float(), own)
    pulls = torch.autograd.grad(cost.sum(), [outputs, *own.values()])
    assert bool(torch.isfinite(cost).all())
    assert all(bool(torch.isfinite(pull).all()) for pull in pulls)


def test_single_precision_is_as_exact_as_it_can_be(case):
    """Costs and pulls differ from those in double precision by little more than the rounding of what is given."""
    outputs, own, x = example(case, rows=50, gaps=0.2)
    outputs, x = outputs.float().double(), x.float().double()
    own = {name: value.float().double() for name, value in own.items()}
    found = []
    for kind in (torch.float32, torch.float64):
        leaves = [outputs.to(kind).requires_grad_(), *(v.to(kind).requires_grad_() for v in own.values())]
        cost = case.cost(leaves[0], x.to(kind), dict(zip(own, (v[:, :] for v in leaves[1:]), strict=True)))
        found.append((cost.detach(), *torch.autograd.grad(cost.sum(), leaves)))
    for mine, exact in zip(*found, strict=True):
        torch.testing.assert_close(mine.double(), exact, rtol=1e-4, atol=1e-4)


def test_members_have_their_own_parameters_with_and_without_draws(case):
    outputs, own, x = example(case, gaps=0.2)
    both = case.total(outputs, x, own)
    assert both.shape == (2, 4)
    torch.testing.assert_close(case.cost(outputs, x, own).sum(-1), both)
    for k in range(2):
        one = {name: value[k : k + 1] for name, value in own.items()}
        torch.testing.assert_close(case.total(outputs[k : k + 1], x[k : k + 1], one), both[k : k + 1])
    several = case.total(outputs[:, None], x[:, None], {name: value[:, None] for name, value in own.items()})
    torch.testing.assert_close(several[:, 0], both)


def test_the_constant_is_the_best_model_without_latents(case):
    """No step away from it, in outputs or own parameters, costs less on the rows that it is fitted to."""
    likelihood = case.likelihood
    allows_gaps = case.allows_gaps or not isinstance(likelihood, Likelihood)
    x = drawn(case) if not allows_gaps else with_gaps(drawn(case))
    outputs, own = likelihood.constant(x)
    assert outputs.shape == (likelihood.head(case.features),)
    assert outputs.dtype == torch.float64
    assert {name: tuple(v.shape[1:]) for name, v in own.items()} == likelihood.shapes(case.features)

    def cost(outputs, own):
        return float(case.total(outputs.expand(1, len(x), -1), x[None], own).mean())

    best = cost(outputs, own)
    for step in (0.05, -0.05):
        for i in range(len(outputs)):
            away = outputs.clone()
            away[i] += step
            assert cost(away, own) >= best - 2e-3
        for name, value in own.items():
            for i in range(value.numel()):
                away = value.clone()
                away.view(-1)[i] += step
                assert cost(outputs, {**own, name: away}) >= best - 2e-3


def test_rows_without_values_change_no_constant(case):
    if not (case.allows_gaps or not isinstance(case.likelihood, Likelihood)):
        return
    x = drawn(case, rows=400)
    longer = torch.cat([x, torch.full_like(x, torch.nan)])
    for one, other in zip(case.likelihood.constant(x), case.likelihood.constant(longer), strict=True):
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
        else:
            for name in one:
                torch.testing.assert_close(one[name], other[name], atol=1e-3, rtol=1e-3)


def test_the_link_is_the_mean_of_one_output_and_known_to_the_page(whole):
    likelihood = whole.likelihood
    if likelihood.link is None:
        return
    script = Path(vaelab.__file__).parent / "report" / "js" / "decoder.js"
    known = re.search(r"const LINKS = \{(.*?)\};", script.read_text(), re.DOTALL)
    assert known is not None
    assert f"{likelihood.link}:" in known[1]
    outputs, own, _ = example(whole)
    link = {"identity": lambda out: out, "sigmoid": torch.sigmoid}[likelihood.link]
    torch.testing.assert_close(link(outputs), likelihood.mean(outputs, own))


def test_the_floor_is_not_undercut(whole):
    x = torch.tensor([[0.0, 0.3, 1.0]], dtype=torch.float64)
    floor = whole.likelihood.floor(x) if whole.features == D else None
    if floor is None:
        return
    outputs, own, _ = example(whole, members=1)
    lowest = float(whole.likelihood.nll(torch.logit(x[None], eps=1e-12), x[None], own))
    assert float(floor.sum()) == pytest.approx(lowest, abs=1e-9)
    assert float(whole.likelihood.nll(outputs[:, :1], x[None], own)) >= float(floor.sum())


def dataset(name, rows=500, scale=1.0, shift=0.0):
    """Data that suit a likelihood: drawn by itself, or a table of every kind."""
    spec = Spec(likelihood=name)
    if not refused(name, "every kind"):
        return every_kind(rows)
    likelihood = likelihood_for(spec, False, likelihood_type(name).scaling(tables()["table"], spec))
    x = drawn(Case(likelihood, 4), rows, spread=6.0, level=0.5).numpy()
    return from_arrays(x * scale + shift, name="drawn", features=[f"c{i}" for i in range(4)])


@pytest.mark.slow
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_model_trains_is_saved_and_scores_in_the_units_of_the_data(name, tmp_path):
    """Gains over no latents; a density changes with the unit of x by the logarithm of that unit, a mass not at all."""
    settings = {"likelihood": name, "hidden": "16", "latent_dim": 2, "epochs": 12, "lr": 1e-2, "batch_size": 30}
    settings["schedule"] = "one-cycle"  # a constant rate would keep the two runs apart by its noise
    data = dataset(name)
    run = train(data, settings, out=tmp_path / "run", figures=False)
    assert run.metrics["validation"]["neg_elbo"] < run.metrics["reference"]["no_latents"]
    again = vaelab.load(tmp_path / "run")
    rows = data.flat[:20]
    np.testing.assert_array_equal(again.score_samples(rows), run.model.score_samples(rows))
    assert again.sample(5, noise=True).shape == (5, data.flat.shape[1])
    if data.is_typed or likelihood_type(name).is_mass:
        return
    scaled = train(dataset(name, scale=1e6, shift=5e6), settings, out=tmp_path / "scaled", figures=False)
    shift = scaled.metrics["validation"]["neg_elbo"] - run.metrics["validation"]["neg_elbo"]
    assert shift == pytest.approx(4 * math.log(1e6), abs=0.05)


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("engine", ["auto", "autograd"])
def test_a_member_gets_the_bits_that_it_gets_alone(name, engine):
    data = dataset(name, rows=203)
    specs = [
        resolve(
            Spec(likelihood=name, hidden=hidden, latent_dim=2, epochs=2, seed=seed, device="cpu", engine=engine), data
        )
        for seed, hidden in enumerate(("20", "9", "32"))
    ]
    together, alone = Stack(specs, Feed(data, specs[0]), Variational()), []
    list(epochs(together))
    for spec in specs:
        alone.append(Stack([spec], Feed(data, spec), Variational()))
        list(epochs(alone[-1]))
    for k, single in enumerate(alone):
        assert torch.equal(together.parameters[k], single.parameters[0])
    x = torch.from_numpy(np.ascontiguousarray(data.flat[:7]))
    feed = together.feed
    rows = feed.units.fixed(x, torch.arange(7))
    z = torch.zeros(3, 2, 7, together.model.latent)
    assert nll(together.model, together.views(together.rows), z, rows).shape == (3, 2, 7)
