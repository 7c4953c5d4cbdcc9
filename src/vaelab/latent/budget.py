"""Label budget: accuracy on test examples against the number of labels, for each method."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vaelab.engine.seeds import derive_seed
from vaelab.latent.graph import LabelGraph
from vaelab.latent.labels import ClassTable, draw_balanced
from vaelab.latent.propagation import answered

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Method = Callable[[Ints, Ints], Ints]  # labelled rows and their classes -> predictions for all test examples
SIZES = (10, 20, 50, 100, 200, 500, 1_000, 5_000)
DRAWS = 10
PROBE_STEPS = 1_000  # of L-BFGS; about 50 are enough


def by_mixture(shares: Floats, test: Floats, classes: int) -> Method:
    """Components named by the labels, from the posteriors over components of training (n, K) and test (m, K)."""
    return lambda rows, codes: ClassTable.of(shares[rows], codes, classes).predict(test)


def by_graph(graph: LabelGraph, test: Floats, classes: int) -> Method:
    """Labels propagated along the graph of the training latents, evaluated at test latents (m, L)."""
    return lambda rows, codes: answered(graph.predict_proba(test, rows, codes, classes))


def by_probe(z: Floats, test: Floats) -> Method:
    """Multinomial logistic regression on standardised latents, scikit-learn's default penalty."""

    def answer(rows: Ints, codes: Ints) -> Ints:
        if len(np.unique(codes)) == 1:
            return np.full(len(test), codes[0])
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=PROBE_STEPS))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the last step's predictions are used then
            return np.asarray(probe.fit(z[rows], codes).predict(test))

    return answer


def by_neighbours(z: Floats, test: Floats) -> Method:
    """The vote of the k nearest labelled latents: k is half the labels per class, from 1 to 10."""

    def answer(rows: Ints, codes: Ints) -> Ints:
        k = int(np.clip(len(rows) / len(np.unique(codes)) / 2, 1, 10))
        return np.asarray(KNeighborsClassifier(k).fit(z[rows], codes).predict(test))

    return answer


def label_budget(
    methods: Mapping[str, Method],
    codes: Ints,
    test_codes: Ints,
    classes: int,
    *,
    sizes: Sequence[int] = SIZES,
    draws: int = DRAWS,
    seed: int = 0,
    groups: Ints | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """A row per number of labels: test accuracy of each method as mean and standard error over class-balanced draws.

    codes: (n,) classes of the training examples, -1 for none; test_codes: (m,). All methods use the same draws. The
    last row has all labels, and one draw. "Unknown" counts as an error. groups: (n,) of the training examples, from as
    many of which labels are drawn as possible.
    """
    labelled = int((codes >= 0).sum())
    plan = [(size, draws) for size in sizes if size < labelled] + [(labelled, 1)]
    table, done, total = [], 0, sum(times for _, times in plan)
    for size, times in plan:
        found: dict[str, list[float]] = {name: [] for name in methods}
        for draw in range(times):
            rows = draw_balanced(codes, size, classes, derive_seed(seed, size, draw), groups)
            for name, method in methods.items():
                found[name].append(float((method(rows, codes[rows]) == test_codes).mean()))
            done += 1
            progress(done, total)
        table.append({"labels": size, "draws": times, "accuracy": {name: summary(own) for name, own in found.items()}})
    return table


def summary(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, and its standard error if there is more than one value."""
    n = len(values)
    return {"mean": float(np.mean(values)), "se": float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None}
