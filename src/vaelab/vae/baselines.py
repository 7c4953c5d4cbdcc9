"""Baselines that know shared structure: probabilistic PCA and factor analysis for densities, a linear VAE for masses.

A VAE that is not better than these is not worth its cost; and only if they find no shared structure either is a
collapsed VAE a statement about the data. Values are nats per example in the units of the VAE's neg_elbo.
"""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
import weakref
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch
from torch import Tensor

from vaelab.engine import training
from vaelab.engine.process import one_thread
from vaelab.settings.yardsticks import SEARCH_DRAWS, VALIDATION_ROWS
from vaelab.study.task import Nothing
from vaelab.vae import evaluate
from vaelab.vae.evaluate import COLLAPSE_RATE
from vaelab.vae.feed import BASELINE_ROWS, Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.learning import Variational
from vaelab.vae.likelihoods import location_scale
from vaelab.vae.spec import Spec
from vaelab.wording import counted, number, with_error

Array = npt.NDArray[np.float64]

DIMENSIONS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
# Training rows of a density: as for the model without latents, which needs the same copies in double precision, and so
# few of wide data that all fits take seconds (1,000 x 200: 0.4 s, 5,000 x 784: 5 s, 2,000 x 2,000: 3 s on one core).
FIT_ROWS, FIT_VALUES = BASELINE_ROWS // 4, 4_000_000
# Factor analysis stops at a gain of TOLERANCE nats per value, or after ROUNDS. Each number of factors starts from the
# noise of the one before, so that more rounds add hundredths of a nat; a fit that is not converged is still a density.
TOLERANCE, ROUNDS = 1e-4, 30
PATIENCE = 2  # numbers of factors in a row that are worse on validation than the best: then it stops
LEAST_NOISE = 1e-3  # least scale of noise, for a likelihood without one

LATENT_SIZES = (64, 16, 4)  # until a smaller one is worse
# On digits 2,000 more steps change less than 0.01 nats; on MNIST 64 dimensions need as many as 4,000 (6 to 16 s).
STEPS, RATE = 4_000, 1e-2
MOST_FEATURES = 4_096  # beyond that the steps of the linear VAE would take minutes
SHARE, TOO_SHORT = 0.2, "the time limit is too short"  # most of a time limit that baselines take


class Density(Protocol):
    """A fitted model."""

    def costs(self, feed: Feed, split: str) -> Tensor:
        """-log p(x), or a bound on it, of every example (N,) of a split, in the data's own units."""


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """log N(x; mean, W^T W + diag(noise)) with loadings W (k, D), by the Woodbury identity."""

    mean: Array
    loadings: Array
    noise: Array

    def nll(self, x: Tensor) -> Array:
        """-log p(x) (n,) of rows (n, D) in the model's units."""
        residual = x.cpu().double().numpy() - self.mean
        scaled = self.loadings / self.noise
        inner = np.eye(len(self.loadings)) + scaled @ self.loadings.T
        root = scipy.linalg.cholesky(inner, lower=True)
        explained = scipy.linalg.solve_triangular(root, scaled @ residual.T, lower=True)
        square = (residual**2 / self.noise).sum(1) - (explained**2).sum(0)
        log_det = np.log(self.noise).sum() + 2 * np.log(root.diagonal()).sum()
        nll: Array = 0.5 * (square + log_det + len(self.mean) * math.log(2 * math.pi))
        return nll

    def own_costs(self, feed: Feed, x: Tensor) -> Tensor:
        """-log p(x) (n,) of rows (n, D) in the model's units, as `feed.log_jacobian` completes it."""
        return torch.from_numpy(self.nll(x)) + feed.likelihood.jacobian(x).cpu().double()

    def costs(self, feed: Feed, split: str) -> Tensor:
        batches = feed.batches(split, 1)
        costs = torch.empty(batches.rows, dtype=torch.float64)
        for place, x, _ in batches:
            costs[place] = self.own_costs(feed, x[:, : feed.features])
        return costs + feed.log_jacobian


@dataclasses.dataclass(frozen=True)
class LinearVAE:
    """A trained VAE without hidden layers; its costs are the negative ELBO."""

    fitted: Fitted

    def costs(self, feed: Feed, split: str) -> Tensor:
        fitted = self.fitted
        batches = feed.batches(split, SEARCH_DRAWS)
        scores = evaluate.score(
            fitted.model, fitted.parameters, [fitted.spec], batches, SEARCH_DRAWS, feed.log_jacobian
        )
        return scores.neg_elbo[0]


@dataclasses.dataclass(frozen=True)
class Structured:
    """One baseline, its number of dimensions chosen on validation: costs (N,) of the validation examples.

    `independent` (N,) are the costs of the same model without dimensions: only what lies below them is structure that
    features share. (A likelihood with another noise, such as one scale for all pixels, can be beaten without any.)
    """

    name: str
    dimensions: int
    costs: Tensor
    independent: Tensor
    model: Density = dataclasses.field(repr=False)

    @property
    def value(self) -> float:
        return float(self.costs.mean())

    @property
    def label(self) -> str:
        return f"{self.name} with {counted(self.dimensions, UNITS[self.name])}"

    @property
    def gain(self) -> tuple[float, float]:
        """Nats below independent features, paired over examples, and the standard error."""
        return mean_and_error(self.independent - self.costs)

    @property
    def is_shown(self) -> bool:
        """Whether it finds structure, by more than 2 standard errors."""
        gain, error = self.gain
        return gain > 2 * error

    def as_dict(self, feed: Feed, test: bool) -> dict[str, Any]:
        """For results; the test split is read only where the caller opens it anyway."""
        (value, error), (gain, gain_error) = mean_and_error(self.costs), self.gain
        return {
            "name": self.name, "dimensions": self.dimensions, "label": self.label, "validation": value,
            "validation_se": finite(error), "gain": gain, "gain_se": finite(gain_error),
            "test": float(self.model.costs(feed, "test").mean()) if test else None,
        }  # fmt: skip


PCA_NAME, FACTORS, LINEAR = "probabilistic PCA", "factor analysis", "the linear VAE"
UNITS = {PCA_NAME: "dimension", FACTORS: "factor", LINEAR: "latent dimension"}


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """The mean of values (N,) and its standard error, infinite for a single one."""
    return float(values.mean()), float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.inf


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@dataclasses.dataclass(frozen=True)
class Baselines:
    """The structured baselines of a data set, and which are missing, in sentences."""

    found: tuple[Structured, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def best(self) -> Structured | None:
        return min(self.found, key=lambda one: one.value, default=None)

    def as_dict(self, feed: Feed, test: bool = False) -> dict[str, Any]:
        return {"structured": [one.as_dict(feed, test) for one in self.found], "left_out": list(self.left_out)}

    def beaten(self, value: float, costs: Tensor, whose: str) -> str | None:
        """The sentence that must come first where a model is not shown to be better than the best of them; else None.

        value: the model's mean neg_elbo on validation; costs: per example (N,), for the error of the difference.
        """
        best = self.best
        if best is None:
            return None
        gain, error = best.value - value, mean_and_error(costs.double() - best.costs)[1]
        reached = f"{best.label} has {number(best.value, value)} nats per example on validation"
        reached, own = reached[0].upper() + reached[1:], f"{whose} {number(value, best.value)}"
        if gain > 2 * error:
            return None
        if -gain > 2 * error:
            return f"{reached}, below {own}: prefer it, or search further."
        if gain <= 0:
            return f"{reached}, and {own} is no better than that."
        return (
            f"{reached}, and {own} is not shown to be better: the difference, paired over examples, is "
            f"{with_error(gain, finite(error))}."
        )

    def nothing(self, rate: float, beta: float) -> Nothing:
        """What it means that even the best VAE is no better than the model without latents; its rate, and its beta."""
        shown = [one for one in self.found if one.is_shown]
        if not shown and not self.left_out:
            fate = "collapsed" if rate < COLLAPSE_RATE else "failed to beat the model without latents"
            further = (
                "Linear models find none; for structure that is not linear, give more `epochs`." if self.found else ""
            )
            return Nothing("no shared structure was found", fate, further)
        advice = "Lower `lr`, add `warmup`, or give more `epochs`"
        meaning, fate = "the latents were not used", "collapsed"
        if rate >= COLLAPSE_RATE:
            meaning, fate = "not trained enough", "failed to beat the model without latents"
            advice = "Give more `epochs`"
        if beta > 1:  # it may be all that keeps the latents from being used
            advice = f"Lower `beta`, which is {beta:g}. {advice}"
        if not shown:
            return Nothing(meaning, fate, f"{advice}. Whether there is shared structure is not known.")
        best = min(shown, key=lambda one: one.value)
        without = float(best.independent.mean())
        return Nothing(
            meaning, fate,
            f"There is shared structure: {best.label} has {number(best.value, without)} nats per example on "
            f"validation, independent features have {number(without, best.value)}. {advice}.",
        )  # fmt: skip


_known: weakref.WeakKeyDictionary[Feed, Baselines] = weakref.WeakKeyDictionary()


def structured(feed: Feed, limit: float = math.inf) -> Baselines:
    """The baselines fitted to the training rows of `feed`; computed once. None for inverse problems.

    limit: the seconds of all that is asked for, of which they may take a share.
    """
    if feed not in _known:
        with one_thread():
            _known[feed] = _structured(feed, time.perf_counter() + SHARE * limit)
    return _known[feed]


def _structured(feed: Feed, deadline: float) -> Baselines:
    if feed.condition or feed.features < 2:  # the first is of inverse problems; and one feature shares nothing
        return Baselines()
    return _densities(feed, deadline) if feed.likelihood.is_dense else _linear_vae(feed, deadline)


def _densities(feed: Feed, deadline: float) -> Baselines:
    """Probabilistic PCA and factor analysis, each with the number of dimensions that is best on validation."""
    rows = feed.sample_rows(max(2, min(FIT_ROWS, FIT_VALUES // feed.features))).cpu().double().numpy()
    own = feed.likelihood.least_scale if isinstance(feed.likelihood, location_scale.Density) else LEAST_NOISE
    least = own if isinstance(own, float) else LEAST_NOISE
    n, D = rows.shape
    most = min(D - 1, n - 2)
    # The last of few dimensions is a Gaussian with any covariance.
    sizes = sorted({k for k in DIMENSIONS if k <= most} | ({most} if 0 < most <= DIMENSIONS[-1] else set()))
    if not sizes:
        return Baselines(left_out=(f"no structured baseline can be fitted to {counted(n, 'training example')}.",))
    independent = _independent(rows, least, feed)
    found, left_out = [], []
    for name, candidates, patience in (
        (PCA_NAME, _principal(rows, sizes, least), math.inf),
        (FACTORS, _factors(rows, sizes, least), PATIENCE),
    ):
        best, reason = _choose(candidates, feed, patience, deadline)
        if reason:
            fits = name if best is None else f"{name} with some numbers of dimensions"
            left_out.append(f"{fits} is left out: {reason}.")
        if best is None:
            continue
        costs = best.costs(feed, "validation")
        found.append(Structured(name, len(best.loadings), costs, independent, best))
    return Baselines(tuple(found), tuple(left_out))


def _independent(rows: Array, least: float, feed: Feed) -> Tensor:
    """The costs of the models without dimensions: of one noise variance or one per feature, what is better. (Estimated
    from few rows, one per feature costs more nats than many dimensions of pure noise.)
    """
    variance = np.maximum(rows.var(0), least**2)
    noises = variance, np.full_like(variance, variance.mean())
    costs = [Gaussian(rows.mean(0), rows[:0], noise).costs(feed, "validation") for noise in noises]
    return min(costs, key=lambda own: float(own.mean()))


def _principal(rows: Array, sizes: list[int], least: float) -> Iterator[Gaussian]:
    """All sizes from one decomposition (Tipping & Bishop 1999, eq. 8 and 9): W W^T = U (L - s^2 I) U^T, with s^2 the
    mean of the other D - k eigenvalues.
    """
    from sklearn.decomposition import PCA  # here, since workers, which only train, start sooner without it

    pca = PCA(sizes[-1], random_state=0).fit(rows)
    values, D = pca.explained_variance_, rows.shape[1]
    total = rows.var(0, ddof=1).sum()
    for k in sizes:
        noise = max((total - values[:k].sum()) / (D - k), least**2)
        scales = np.sqrt(np.maximum(values[:k] - noise, 0))
        yield Gaussian(pca.mean_, scales[:, None] * pca.components_[:k], np.full(D, noise))


def _factors(rows: Array, sizes: list[int], least: float) -> Iterator[Gaussian]:
    """x = W^T z + mean + noise, one noise variance per feature, by maximum likelihood."""
    from sklearn.decomposition import FactorAnalysis

    noise: Array | None = None
    for k in sizes:
        model = FactorAnalysis(
            k, tol=TOLERANCE * rows.size, max_iter=ROUNDS, noise_variance_init=noise, random_state=0
        ).fit(rows)
        noise = np.maximum(model.noise_variance_, least**2)
        yield Gaussian(model.mean_, model.components_, noise)


def _choose(
    candidates: Iterator[Gaussian], feed: Feed, patience: float, deadline: float
) -> tuple[Gaussian | None, str]:
    """The best on validation, and what failed, if anything; stops after `patience` worse ones in a row."""
    from sklearn.exceptions import ConvergenceWarning

    best, lowest, worse, reason = None, math.inf, 0, ""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            for model in candidates:
                cost = _mean_nll(model, feed)
                reason = reason if math.isfinite(cost) else "its likelihood is not finite"
                best, lowest, worse = (model, cost, 0) if cost < lowest else (best, lowest, worse + 1)
                if worse >= patience:
                    break
                if time.perf_counter() > deadline:
                    reason = TOO_SHORT
                    break
        except (np.linalg.LinAlgError, ValueError) as error:  # sizes before it stand
            reason = str(error).splitlines()[0].rstrip(".")
    return best, reason


def _mean_nll(model: Gaussian, feed: Feed) -> float:
    """Over validation rows, in the units of `own_costs`; infinite if it is not finite."""
    batches = feed.kept_batches("validation", VALIDATION_ROWS)
    cost = float(torch.cat([model.own_costs(feed, x[:, : feed.features]) for x, _ in batches]).mean())
    return cost if math.isfinite(cost) else math.inf


def _linear_vae(feed: Feed, deadline: float) -> Baselines:
    """A VAE without hidden layers, the best of a few latent sizes. For a Gaussian likelihood its optimum is
    probabilistic PCA (Lucas et al. 2019, "Don't blame the ELBO").
    """
    if feed.features > MOST_FEATURES:
        return Baselines(left_out=(f"{LINEAR} is left out: it would take minutes for {feed.features:,} features.",))
    sizes = [k for k in LATENT_SIZES if k < feed.features] or [1]
    base, reason = _linear_spec(feed, sizes[0]), "its bound is not finite"
    independent = evaluate.baseline(feed, "validation").no_latents
    best: Structured | None = None
    for k in sizes:
        stack = training.Stack([base.replace(latent_dim=k)], feed, Variational())
        for _ in training.epochs(stack):
            if time.perf_counter() > deadline:  # half of a schedule is worth nothing
                stack.failures[0] = TOO_SHORT
            if stack.failures[0] is not None:
                break
        if stack.failures[0] is not None:
            reason = stack.failures[0]
            continue
        # The last weights: the best of hundreds of epochs on few validation rows would show structure in noise.
        model = LinearVAE(Fitted.of(feed, stack.specs[0], stack.rows[0].detach()))
        found = Structured(LINEAR, k, model.costs(feed, "validation"), independent, model)
        if not math.isfinite(found.value):
            continue
        if best is not None and found.value > best.value:
            break
        best = found
    return Baselines((best,)) if best else Baselines(left_out=(f"{LINEAR} is left out: {reason}.",))


def _linear_spec(feed: Feed, latent_dim: int) -> Spec:
    own = feed.spec
    settings = {
        "hidden": "none", "latent_dim": latent_dim, "lr": RATE, "likelihood": own.likelihood, "binarize": own.binarize,
        "sigma": own.sigma, "threshold": own.threshold, "device": own.device, "schedule": "one-cycle",
        "real_likelihood": own.real_likelihood, "count_likelihood": own.count_likelihood,
        "size_factor": own.size_factor,
    }  # fmt: skip
    spec = resolve(Spec.create(**settings), feed.data)
    steps = -(-len(feed.data.splits["train"]) // int(spec.batch_size))
    return spec.replace(epochs=-(-STEPS // steps))


def of_model(model: Fitted, feed: Feed) -> Tensor:
    """A trained VAE's neg_elbo (N,) per validation example of its own data."""
    return -torch.from_numpy(model.score_samples(feed.data.rows("validation"), SEARCH_DRAWS))
