"""Inverse problems: the faults of the published set-up, one by one, posteriors against the exact ones, and solutions.

    python benchmarks/inverse.py [published|moons|linear|solutions] [--epochs N] [--examples N] [--draws N] [--smoke]

`published` trains the set-up of the public solutions of "two birds, easy": the misfit without a gradient, the KL summed
over the batch next to means of the other terms, and noise pushed through the encoder to sample. Then each cause is
switched off. Two dense layers of 256 replace their convolutions. `moons` measures C2ST on two moons at 10,000
simulations; neural posterior estimation has 0.606 there (Lueckmann et al. 2021), and where sbi is installed it is
trained and measured here, next to the conditional VAE.

`linear`: x ~ N(0, I) in two dimensions, three outputs with noise; draws given one, several and incomplete measurements
beside the exact posterior. `solutions`: recall of all solutions of the built-in problems at equal time (that of
candidates of the network) and at equal evaluations, over seeds: the network, nearest examples, and both as `solve`
shares them. Asserted: these find no less than the nearest examples at equal evaluations, up to 0.02.
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import numpy as np
import torch

from vaelab import ConditionalVAE
from vaelab.engine.process import one_thread
from vaelab.engine.training import Stack, epochs
from vaelab.errors import InputError
from vaelab.inverse import calibration, conditional, methods, npe, problems, scores
from vaelab.inverse.fitted import Inverter
from vaelab.inverse.forward import UNKNOWN
from vaelab.inverse.solutions import REFINE, WALK
from vaelab.inverse.spec import spec_of, specs_of
from vaelab.inverse.training import train
from vaelab.vae import evaluate
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.learning import Variational

BATCH, FEATURES = 100, 100


def published(passes: int, examples: int, is_judged: bool) -> None:
    """One row per variant: rate, share of candidates that pass the gates, mean absolute error of y, spread of x."""
    problem = problems.built_in("two-birds-easy", train=examples)
    # Means over features as the published losses take them, in terms per example: weights of 1 / FEATURES, and a KL
    # that is summed over the batch counts BATCH times.
    averaged = {"sigma": 1.0, "wx": 2 / FEATURES, "wy": 2 / FEATURES, "beta": float(BATCH)}
    variants = {
        "as published": (averaged, True, True),
        "with a gradient of the misfit": (averaged, False, True),
        "KL per example": (averaged | {"beta": 2 / FEATURES}, True, True),
        "z from the prior": (averaged, True, False),
        "all three": (averaged | {"beta": 2 / FEATURES}, False, False),
        "and a learned scale": ({"sigma": "feature", "wy": 0.0}, False, False),
    }
    print(f"{'two birds, easy':32s}{'rate':>9s}{'pass':>8s}{'|f(x)-y|':>10s}{'spread of x':>13s}")
    rows = {}
    for name, (settings, detached, through_encoder) in variants.items():
        plain = {"hidden": "256-256", "latent_dim": 8, "epochs": passes, "batch_size": BATCH, "lr": 1e-3}
        spec = spec_of(problem, {**plain, **settings})
        rows[name] = _variant(problem, spec, detached, through_encoder)
        print("{:32s}{:9.4f}{:8.3f}{:10.3f}{:13.4f}".format(name, *rows[name]))
    if not is_judged:
        return
    rate, passing, _, spread = rows["as published"]
    assert rate < 0.01, "the published set-up collapses"
    assert passing < 1, "its score is 0: a gate fails"
    assert rows["and a learned scale"][3] > 10 * spread, "its candidates for one measurement are all the same"


def _variant(problem, spec, detached: bool, through_encoder: bool) -> tuple[float, float, float, float]:
    data, space = conditional.as_table(problem, spectrum=True)
    spec = resolve(spec, data)
    forward = problem.forward
    taught = dataclasses.replace(problem, forward=(lambda x: forward(x).detach()) if detached else forward)
    with one_thread():
        method = Variational(cost=conditional.cost(taught, space))
        stack = Stack([spec], Feed(data, spec, space.scaling), method)
        for _ in epochs(stack):
            pass
        rate = evaluate.mean_terms(
            stack.model, stack.views(stack.parameters), [spec], stack.feed.batches("validation", 1), 0.0
        )[0][1]
        sampler = conditional.Sampler(stack.model, spec, stack.parameters[:1].detach().clone(), space)
        _, y = problem.rows("test")
        given = space.y_model(y)
        if through_encoder:
            noise = torch.randn(len(y) * 30, space.x.size, generator=torch.Generator().manual_seed(0))
            rows = torch.cat([noise, given.float().repeat_interleave(30, 0)], 1)[None]
            with torch.no_grad():
                q = stack.model.encode(stack.model.layout.views(sampler.row), rows)
            z = q.mean[0, :, : spec.latent_dim].view(len(y), 30, -1)
        else:
            z = sampler.latents(len(y), 30, 0)
        x = space.x_own(sampler.decode(z, given).double()).numpy()
    passing = scores.passes(scores.gates(problem, x, y)).mean()
    found = problems.apply(forward, x.reshape(-1, *problem.x_shape)).reshape(len(y), 30, *problem.y_shape)
    return rate, float(passing), float(np.abs(found - y[:, None]).mean()), float(x.std(1).mean())


def draw_moons(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Parameters uniform in [-1, 1]^2 and what they make: a half moon, moved by (-|a + b|, b - a) / sqrt 2."""
    theta = rng.uniform(-1, 1, (n, 2))
    return theta, _crescent(n, rng) + _shift(theta)


def _crescent(n: int, rng: np.random.Generator) -> np.ndarray:
    angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.normal(0.1, 0.01, n)
    return np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], 1)


def _shift(theta: np.ndarray) -> np.ndarray:
    return np.stack([-np.abs(theta.sum(1)), theta[:, 1] - theta[:, 0]], 1) / np.sqrt(2)


def exact_moons(y: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Exact posterior draws: y less a point of the crescent is the shift, and the sign of a + b is free."""
    kept = np.empty((0, 2))
    while len(kept) < n:
        shift = (y - _crescent(4 * n, rng)) * np.sqrt(2)
        shift = shift[shift[:, 0] <= 0]
        total = -shift[:, 0] * rng.choice([-1, 1], len(shift))
        theta = np.stack([(total - shift[:, 1]) / 2, (total + shift[:, 1]) / 2], 1)
        kept = np.concatenate([kept, theta[(np.abs(theta) <= 1).all(1)]])
    return kept[:n]


def moons(passes: int | None, simulations: int, measurements: int, draws: int) -> None:
    """Mean C2ST with the default settings, and of sbi's estimator with equal training time, if installed."""
    theta, y = draw_moons(simulations, np.random.default_rng(0))
    problem = problems.create("two moons", theta, y, lambda v: v.detach() * 0)
    began = time.perf_counter()
    model = train(problem, specs_of(problem, {} if passes is None else {"epochs": passes}))
    took = f"training {time.perf_counter() - began:.0f} s, {model.spec.epochs} epochs, beta {model.spec.beta}"
    print(f"two moons, {simulations:,} simulations: {took}")
    samplers = {"conditional VAE": lambda own, seed: model.draw(own, draws, seed).x}
    if npe.is_installed():
        began = time.perf_counter()
        flow = npe.fit(problem, model.space, model.seconds)
        print(f"{npe.NAME} by sbi, trained {time.perf_counter() - began:.0f} s")
        samplers[npe.NAME] = lambda own, seed: flow(own, draws, seed)
    else:
        print(npe.MISSING)
    measured = draw_moons(measurements, np.random.default_rng(1))[1]
    for name, sampler in samplers.items():
        accuracies = []
        for k, own in enumerate(measured):
            reference = exact_moons(own, draws, np.random.default_rng([2, k]))
            accuracies.append(calibration.c2st(calibration.Draws(sampler(own[None], k)), reference))
        each = " ".join(f"{a:.3f}" for a in accuracies)
        of = f"mean of {measurements} measurements, {draws:,} draws each"
        print(f"{name}: C2ST {np.mean(accuracies):.3f}, {of} ({each})")
    print("published for neural posterior estimation: 0.606, by 10,000 draws; 0.5 is perfect")


A, NOISE = np.array([[1.0, 0.5], [0.3, -1.0], [0.8, 0.8]]), np.array([0.5, 0.4, 0.8])


def exact_linear(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of x given y (k, 3), over the values that are not NaN."""
    precision, right = np.eye(2), np.zeros(2)
    for own in y:
        seen = ~np.isnan(own)
        weighted = A[seen].T / NOISE[seen] ** 2
        precision, right = precision + weighted @ A[seen], right + weighted @ own[seen]
    covariance = np.linalg.inv(precision)
    return covariance @ right, covariance


def linear(passes: int | None, simulations: int, cases: int, draws: int) -> None:
    """Errors of mean and standard deviation of draws, in exact standard deviations, over cases and inputs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(simulations, 2))
    y = x @ A.T + NOISE * rng.normal(size=(simulations, 3))
    settings = {} if passes is None else {"epochs": passes}
    known = ConditionalVAE(
        [f"{a} * x0 + {b} * x1" for a, b in A], noise=NOISE.tolist(), bounds="none", **settings
    ).fit(x, y)  # fmt: skip
    unknown = dataclasses.replace(known.inverter, problem=dataclasses.replace(known.inverter.problem, forward=UNKNOWN))
    print(f"linear, {simulations:,} pairs; means over {cases} cases")
    print("| given | error of the mean | sd / exact | effective | refused |")
    for name, model, k, missing in (
        ("1 measurement", known.inverter, 1, 0), ("1, an output missing", known.inverter, 1, 1),
        *((f"{k}, f and noise known", known.inverter, k, 0) for k in (2, 5, 20)),
        *((f"{k}, by densities", unknown, k, 0) for k in (2, 5, 20)),
    ):  # fmt: skip
        errors, ratios, effective, refused = [], [], [], 0
        for case in range(cases):
            own = rng.normal(size=2) @ A.T + NOISE * rng.normal(size=(k, 3))
            own[:, rng.permutation(3)[:missing]] = np.nan
            mean, covariance = exact_linear(own)
            sd = np.sqrt(covariance.diagonal())
            if k == 1:
                drawn = model.draw(own, draws, case).x[0]
            else:
                try:
                    pooled = model.draw_weighted(own, draws, case)
                except InputError:  # too few of its proposals agree with all measurements
                    refused += 1
                    continue
                drawn = pooled.x
                effective.append(pooled.effective / pooled.proposed)
            errors.append(np.abs(drawn.mean(0) - mean) / sd)
            ratios.append(drawn.std(0) / sd)
        share = f"{100 * np.mean(effective):.0f} %" if effective else "–"
        told = f"{np.mean(errors):.3f} | {np.mean(ratios):.3f}" if errors else "– | –"
        print(f"| {name} | {told} | {share} | {refused} |", flush=True)


def solutions(seeds: int, n: int, train_on: int | None = None, **settings: object) -> None:
    """Recall of candidates, unfiltered, at the time and at the evaluations of n candidates of the network."""
    heads = ("problem, seed", "share, walk", "network", "nearest, time", "both, time", "nearest, evals", "both, evals")
    print(f"| {' | '.join(heads)} |")
    lost = 0.0
    for name in ("product",) if train_on else ("product", "two-birds-easy", "two-birds"):
        for seed in range(seeds):
            problem = problems.built_in(name, seed, train=train_on)
            model = train(problem, specs_of(problem, {"seed": seed, **settings}))
            found = recalls(model, seed, n)
            lost = max(lost, found[3] - found[4])
            cells = " | ".join(f"{own:.3f}" for own in found)
            print(f"| {name}, {seed} | {model.sources.share:.2f}, {model.sources.walk} | {cells} |", flush=True)
    assert train_on or lost <= 0.02, f"candidates of both find {lost:.3f} less than the nearest examples alone"


def recalls(model: Inverter, seed: int, n: int) -> list[float]:
    """Of the network's candidates, and at their time and evaluations of the nearest examples, and of both."""
    problem, sources = model.problem, model.sources
    reference, y = problem.rows("test")
    of_network = round(sources.share * n)
    near, beside = (methods.nearest(problem, count, y) for count in (n, n - of_network))

    def both(chunk: int) -> tuple[np.ndarray, int]:
        x, calls = model.candidates(y, of_network, seed + chunk, sources.walk)
        return np.concatenate([x, beside(chunk)[0]], 1), calls

    def tried(starts: methods.Starts, **budget: float) -> methods.Attempt:
        return methods.attempt("", problem, model.ground, starts, reference, y, REFINE, **budget)

    with one_thread():
        own = tried(lambda chunk: model.candidates(y, n, seed + chunk, WALK))
        budgets = {"seconds": own.seconds}, {"evaluations": own.evaluations}
        found = [own, *(tried(starts, **budget) for budget in budgets for starts in (near, both))]
    return [float(each.score.recall or 0.0) for each in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("published", "moons", "linear", "solutions", "all"), default="all")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--examples", type=int, default=100_000, help="of the published set-up")
    parser.add_argument("--draws", type=int, default=10_000, help="of each posterior on two moons")
    parser.add_argument("--smoke", action="store_true", help="check that it runs: an epoch of few examples")
    chosen = parser.parse_args()
    simulations, measurements, seeds = 10_000, 10, 2
    if chosen.smoke:
        chosen.epochs, chosen.examples, chosen.draws, simulations, measurements, seeds = 1, 300, 30, 300, 1, 1
    if chosen.what in ("published", "all"):
        published(chosen.epochs or 10, chosen.examples, not chosen.smoke)
    if chosen.what in ("moons", "all"):
        moons(chosen.epochs, simulations, measurements, chosen.draws)
    if chosen.what in ("linear", "all"):
        linear(chosen.epochs, simulations, 2 * measurements, chosen.draws)
    if chosen.what in ("solutions", "all"):
        small = {"n": 4, "train_on": 300, "hidden": "16"} if chosen.smoke else {"n": 100}
        solutions(seeds, **small, **({} if chosen.epochs is None else {"epochs": chosen.epochs}))


if __name__ == "__main__":
    main()
