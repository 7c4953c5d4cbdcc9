"""Tables with columns of every kind, for the tests of several packages."""

import numpy as np

from vaelab.data import from_arrays

KINDS = {
    "width": "real", "born": "date", "mass": "positive", "visits": "count", "eggs": "count", "ill": "binary",
    "site": "categorical", "colour": "categorical", "grade": "ordinal", "stage": "ordinal",
}  # fmt: skip


def every_kind(rows=400, gaps=0.1, seed=0):
    """Two columns of most kinds, which depend on two factors; a share of the cells of all but the first is missing."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, rows))
    noise = 0.3 * rng.normal(size=(rows, len(KINDS)))
    levels = lambda z, edges: np.searchsorted(edges, z).astype(float)  # noqa: E731
    columns = [
        5e3 + 20 * (a + noise[:, 0]),
        17_000 + np.round(400 * (b + noise[:, 1])),
        np.exp(2 * a - 3 + noise[:, 2]),
        rng.poisson(np.exp(1 + a)),
        rng.poisson(np.exp(3 + b) * rng.gamma(2, 0.5, rows)),
        a + b + noise[:, 5] > 0.4,
        levels(a + noise[:, 6], (-0.5, 0.7)),
        10 + levels(b + noise[:, 7], (-1, 0, 0.6, 1.2)),
        levels(a - b + noise[:, 8], (-0.6, 0.6)),
        levels(b + noise[:, 9], (-0.8, 0, 0.4, 1.5)) ** 2,
    ]
    x = np.stack([np.asarray(c, float) for c in columns], 1)
    x[:, 1:][rng.random((rows, len(KINDS) - 1)) < gaps] = np.nan
    return from_arrays(x, name="every kind", features=list(KINDS), types=KINDS)


def counts(rows=300, columns=24, gaps=0.0, seed=0, top=0.0):
    """Counts in rows of very different sizes, as of genes; means up to exp(3 + top)."""
    rng = np.random.default_rng(seed)
    log_mean = rng.normal(size=(rows, 2)) @ rng.normal(size=(2, columns)) * 0.5 + rng.uniform(-1, 3, columns) + top
    size = np.exp(rng.normal(size=(rows, 1)))
    x = rng.poisson(np.exp(log_mean) * size * rng.gamma(3, 1 / 3, (rows, columns))).astype(float)
    x[rng.random(x.shape) < gaps] = np.nan
    names = [f"g{j}" for j in range(columns)]
    return from_arrays(x, name="counts", features=names, types=dict.fromkeys(names, "count"))
