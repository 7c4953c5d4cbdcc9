"""Counts of cells by genes from a known model: groups, held-out likelihood, time and memory of a study.

    python benchmarks/counts.py [--rows 5000] [--genes 2000] [--trials 20] [--workers 2] [--seeds 1] [--smoke]

Eight groups of cells, with log-normal sizes and negative binomial counts about a mixture of expression programs.
Shown are

- the adjusted Rand index of a Gaussian mixture on the latents of the winner of a default study, and on as many
principal
  components of the logarithms of counts per cell, scaled to the median cell;
- the importance-weighted bound on log p(x) of the test cells given their sizes, in nats per cell, and that of factor
  analysis of the same logarithms. Its density becomes a mass, which can be compared, by integrating each gene over the
  bin of its count, given the factors;
- wall time and the highest memory of a worker.

It fails if the groups of the winner agree less than those of the principal components by more than 0.02.
"""

from __future__ import annotations

import argparse
import math
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_ndtr, logsumexp
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from vaelab.api.studies import tune
from vaelab.data import from_arrays

GROUPS, PROGRAMS, DRAWS = 8, 12, 64


def cells(rows: int, genes: int, seed: int) -> tuple[Any, Any]:
    """Counts (rows, genes) and the group of each row."""
    rng = np.random.default_rng(seed)
    group = rng.integers(GROUPS, size=rows)
    centers = rng.normal(size=(GROUPS, PROGRAMS))
    use = centers[group] + 0.6 * rng.normal(size=(rows, PROGRAMS))
    programs = 0.35 * rng.normal(size=(PROGRAMS, genes))
    log_share = use @ programs + rng.normal(-1.0, 1.5, genes)
    share = np.exp(log_share - logsumexp(log_share, axis=1, keepdims=True))
    size = rng.lognormal(math.log(2.0 * genes), 0.5, rows)
    mean = share * size[:, None]
    return rng.poisson(mean * rng.gamma(4.0, 0.25, mean.shape)).astype(np.int32), group


def logarithms(counts: Any, size: Any, typical: float) -> Any:
    return np.log1p(counts / size[:, None] * typical)


def factor_analysis(counts: Any, train: Any, test: Any, factors: int) -> float:
    """The bound on -log p(x) per test row of factor analysis of logarithms, as a mass of counts given the size."""
    size = counts.sum(1).astype(float)
    typical = float(np.median(size[train]))
    u = logarithms(counts, size, typical)
    model = FactorAnalysis(factors, random_state=0, max_iter=200).fit(u[train])
    noise, loadings = np.maximum(model.noise_variance_, 1e-6), model.components_
    precision = np.eye(factors) + (loadings / noise) @ loadings.T
    covariance = np.linalg.inv(precision)
    root = np.linalg.cholesky(covariance)
    rng, total = np.random.default_rng(0), 0.0
    for row in test:
        mean = covariance @ (loadings / noise) @ (u[row] - model.mean_)
        eps = rng.normal(size=(DRAWS, factors))
        z = mean + eps @ root.T
        x, scale = counts[row].astype(float), typical / size[row]
        high, low = np.log1p((x + 0.5) * scale), np.log1p(np.maximum(x - 0.5, 0.0) * scale)
        center = z @ loadings + model.mean_
        a, b = (high - center) / np.sqrt(noise), np.where(x > 0, (low - center) / np.sqrt(noise), -np.inf)
        far = a + np.where(np.isinf(b), a, b) > 0  # the upper tail is more precise there
        a, b = np.where(far, -b, a), np.where(far, -a, b)
        gap = np.minimum(log_ndtr(b) - log_ndtr(a), -1e-12)
        log_p = (log_ndtr(a) + np.log1p(-np.exp(gap))).sum(1)
        log_w = log_p - 0.5 * (z**2).sum(1) + 0.5 * (eps**2).sum(1) + np.log(root.diagonal()).sum()
        total += logsumexp(log_w) - math.log(DRAWS)
    return -total / len(test)


def agreement(points: Any, group: Any) -> float:
    mixture = GaussianMixture(GROUPS, n_init=5, random_state=0).fit(points)
    return float(adjusted_rand_score(group, mixture.predict(points)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="check that it runs: few cells, one short trial")
    arguments = parser.parse_args()
    settings = {}
    if arguments.smoke:
        arguments.rows, arguments.genes, arguments.trials, arguments.workers = 300, 30, 1, 1
        settings = {"epochs": 200, "hidden": "16", "latent_dim": 4}
    print("| seed | ARI, vaelab | ARI, PCA | bound, vaelab | bound, factor analysis | latent | seconds | memory, GB |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for seed in range(arguments.seeds):
        counts, group = cells(arguments.rows, arguments.genes, seed)
        data = from_arrays(counts, name="cells", seed=seed)
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            study = tune(
                data, None, arguments.trials, settings=settings, seed=seed, workers=arguments.workers, figures="none",
                final_seeds=1 if arguments.smoke else None, out=Path(folder) / "study",
            )  # fmt: skip
            seconds = time.perf_counter() - began
            best = study.best
            latent = best.spec.latent_dim
            bound = best.importance_bound(data, "test", DRAWS).neg_log_p
            own = agreement(best.encode(data.x)[0], group)
        size = counts.sum(1).astype(float)
        u = logarithms(counts, size, float(np.median(size)))
        pca = agreement(PCA(min(latent, GROUPS, u.shape[1] - 1), random_state=0).fit_transform(u), group)
        train, test = data.splits["train"], data.splits["test"]
        factors = min(latent, 10, u.shape[1] - 1)
        gauss = factor_analysis(counts, train, test[:200], factors)
        memory = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(
            f"| {seed} | {own:.3f} | {pca:.3f} | {bound:.1f} | {gauss:.1f} | {latent} | {seconds:.0f} | "
            f"{memory / 2**20:.1f} |",
            flush=True,
        )
        assert arguments.smoke or own >= pca - 0.02, "the groups of the latents agree less than those of PCA"


if __name__ == "__main__":
    main()
