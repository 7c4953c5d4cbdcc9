"""Missing cells: conditional means and spreads in closed form, quadrature, and what must not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from vaelab.api.train import train
from vaelab.data import from_arrays
from vaelab.data.dataset import Dataset
from vaelab.errors import InputError
from vaelab.vae.conditionals import expected, surprise
from vaelab.vae.fitted import Fitted
from vaelab.vae.imputation import draw, impute
from vaelab.vae.imputation_quality import ITERATIVE, MEAN, NEAREST, imputation_quality
from vaelab.vae.likelihoods.mixed import Mixed

LOADINGS = np.array([[1.0, 0.8, -0.6, 0.0, 0.5], [0.0, 0.5, 0.7, 1.0, -0.5]])


def gaussian(n: int = 2_000) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2)) @ LOADINGS + 0.4 * rng.normal(size=(n, 5))
    x = x * [1, 10, 100, 1e-3, 1] + [0, 5, 1e4, 0, 1]
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Dataset]:
    """A linear model of a table with missing values: x = W z + b + noise."""
    data = from_arrays(gaussian())
    settings = {"hidden": "none", "latent_dim": 2, "lr": 1e-2, "epochs": 150}
    run = train(data, settings, out=tmp_path_factory.mktemp("linear") / "run", figures=False)
    return run.model.double(), data


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Dataset]:
    """One latent dimension under columns of every kind."""
    rng = np.random.default_rng(0)
    n = 600
    z = rng.normal(size=n)
    table: dict[str, Any] = {
        "real": z + 0.5 * rng.normal(size=n),
        "dose": np.exp(2 * z + rng.normal(size=n)),
        "visits": rng.poisson(np.exp(1 + 0.7 * z)).astype(float),
        "sex": np.where(z + rng.logistic(size=n) > 0, "m", "f").astype(object),
        "city": np.array(["a", "b", "c"], dtype=object)[np.clip(np.round(z + 1), 0, 2).astype(int)],
        "grade": np.clip(np.round(z + 3 + 0.5 * rng.normal(size=n)), 1, 5),
    }
    for values in table.values():
        values[rng.random(n) < 0.1] = None
    data = from_arrays(table, types={"dose": "positive", "visits": "count", "grade": "ordinal"})
    settings = {"hidden": "16", "latent_dim": 1, "lr": 1e-2, "epochs": 30}
    run = train(data, settings, out=tmp_path_factory.mktemp("mixed") / "run", figures=False)
    return run.model.double(), data


def decoder_of(fitted: Fitted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (D,), loadings (L, D) and noise variances (D,) of a linear model in the data's own units."""
    scaling = fitted.scaling
    assert scaling.kept is not None
    weights = fitted.model.unpad(fitted.row[0], fitted.spec)
    likelihood = fitted.model.likelihood
    assert isinstance(likelihood, Mixed)
    (part,) = likelihood.parts
    scale = part.likelihood.scale_of(part.own(weights)).numpy()[0]  # type: ignore[attr-defined]
    order = np.argsort(scaling.kept)
    mean = scaling.offset + scaling.scale * weights["decoder.0.bias"][0].numpy()
    loadings = weights["decoder.0.weight"].numpy() * scaling.scale
    return mean[order], loadings[:, order], ((scale * scaling.scale) ** 2)[order]


def conditional(fitted: Fitted, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the missing cells of a row, from the joint Gaussian of the model."""
    mean, loadings, noise = decoder_of(fitted)
    covariance = loadings.T @ loadings + np.diag(noise)
    gap, seen = np.isnan(row), ~np.isnan(row)
    gain = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[np.ix_(seen, gap)]).T
    found = mean[gap] + gain @ (row[seen] - mean[seen])
    return found, np.diag(covariance[np.ix_(gap, gap)] - gain @ covariance[np.ix_(seen, gap)])


def test_a_linear_model_gives_its_conditional_means(linear: tuple[Fitted, Dataset]) -> None:
    fitted, data = linear
    rows = data.flat[np.isnan(data.flat).any(1)][:100]
    filled = impute(fitted, rows)
    scale = np.nanstd(data.flat, 0)
    errors, spreads = [], []
    for row, own in zip(rows.astype(float), filled, strict=True):
        gap = np.isnan(row)
        mean, variance = conditional(fitted, row)
        errors.append((own[gap] - mean) / scale[gap])
        spreads.append(np.sqrt(variance) / scale[gap])
    error, spread = np.concatenate(errors), np.concatenate(spreads)
    # Of 256 weighted draws, whose effective number is smaller.
    assert np.sqrt(np.mean(error**2)) < 0.15 * np.sqrt(np.mean(spread**2))
    assert abs(error.mean()) < 0.05


def test_draws_have_the_conditional_mean_and_variance(linear: tuple[Fitted, Dataset]) -> None:
    fitted, data = linear
    row = data.flat[np.flatnonzero(np.isnan(data.flat).sum(1) == 2)[0]].astype(float)
    gap = np.isnan(row)
    many = np.concatenate([draw(fitted, row[None], 250, seed)[:, 0, gap] for seed in range(8)])
    mean, variance = conditional(fitted, row)
    n = len(many)
    assert (np.abs(many.mean(0) - mean) < 6 * np.sqrt(variance / n) + 0.1 * np.sqrt(variance)).all()
    np.testing.assert_allclose(many.var(0), variance, rtol=0.25)


def test_one_latent_dimension_agrees_with_quadrature(mixed: tuple[Fitted, Dataset]) -> None:
    """E[x|observed] and the most likely level, by a sum over a grid of z instead of draws."""
    fitted, data = mixed
    rows = data.flat[np.isnan(data.flat).sum(1) >= 2][:40]
    filled = impute(fitted, rows)
    grid = torch.linspace(-6, 6, 2001, dtype=torch.float64)
    z = torch.zeros(1, len(grid), fitted.model.latent, dtype=torch.float64)
    z[0, :, 0] = grid
    outputs = fitted.model.decode(fitted.parameters, z)[0]
    likelihood = fitted.model.likelihood
    assert isinstance(likelihood, Mixed)
    scale = np.nanstd(data.flat, 0)
    for row, own in zip(rows, filled, strict=True):
        x = torch.from_numpy(fitted.scaling.to_model(row[None])).double()
        log_p = -0.5 * grid**2 - likelihood.nll(outputs[None], x.expand(1, len(grid), -1), fitted.parameters)[0]
        weights = torch.softmax(log_p, 0)[:, None, None]
        expected = likelihood.expectation(outputs[:, None], weights, fitted.parameters)
        exact = fitted.scaling.to_own(expected.numpy(), (len(row),))[0]
        for j in np.flatnonzero(np.isnan(row)):
            column = data.columns[j]
            if column.kind == "real":
                assert abs(own[j] - exact[j]) < 0.2 * scale[j]
            elif column.kind == "positive":
                assert abs(np.log(own[j] / exact[j])) < 0.5
            elif column.kind == "count":
                assert abs(own[j] - exact[j]) <= 1.0


def test_what_is_there_stays_and_what_is_filled_is_valid(mixed: tuple[Fitted, Dataset]) -> None:
    fitted, data = mixed
    rows = data.flat[:80]
    there = ~np.isnan(rows)
    for filled in (impute(fitted, rows), *draw(fitted, rows, 3)):
        np.testing.assert_array_equal(filled[there], rows[there])
        assert np.isfinite(filled).all()
        for j, column in enumerate(data.columns):
            if column.has_levels:
                assert np.isin(filled[:, j], column.values).all()
            elif column.kind == "count":
                assert ((filled[:, j] >= 0) & (filled[:, j] == np.round(filled[:, j]))).all()
            elif column.kind == "positive":
                assert (filled[:, j] > 0).all()


def test_a_row_is_filled_alike_in_any_table(mixed: tuple[Fitted, Dataset]) -> None:
    fitted, data = mixed
    filled = impute(fitted, data.flat[:30])
    np.testing.assert_allclose(impute(fitted, data.flat[10:20]), filled[10:20], rtol=1e-12)
    np.testing.assert_array_equal(draw(fitted, data.flat[:5], 2, seed=1), draw(fitted, data.flat[:5], 2, seed=1))
    assert not np.array_equal(draw(fitted, data.flat[:30], 2, seed=1), draw(fitted, data.flat[:30], 2, seed=2))


def test_hidden_cells_are_judged_beside_simpler_ways(linear: tuple[Fitted, Dataset]) -> None:
    """The truth is linear: the model is about as good as regressions, and much better than the mean."""
    fitted, data = linear
    found = imputation_quality(fitted, data)
    errors = {name: each["rmse"] for name, each in found["errors"].items()}
    assert errors[MEAN] == pytest.approx(1.0, abs=0.2)
    assert errors["model"] < 1.15 * errors[ITERATIVE]  # of a hundred cells
    assert errors["model"] < 1.1 * errors[NEAREST]
    assert found["errors"]["model"]["accuracy"] is None


def test_a_model_of_complete_rows_refuses(tmp_path: Path) -> None:
    run = train(
        np.random.default_rng(0).normal(size=(60, 3)), {"latent_dim": 1, "hidden": "4", "epochs": 1},
        out=tmp_path / "run", figures=False,
    )  # fmt: skip
    with pytest.raises(InputError, match="gives missing cells no meaning"):
        impute(run.model, np.zeros((2, 3)))
    with pytest.raises(InputError, match="at least 1, but got 0"):
        draw(run.model, np.zeros((2, 3)), 0)


def test_positive_numbers_and_counts_do_not_exceed_what_was_seen(mixed: tuple[Fitted, Dataset]) -> None:
    fitted, data = mixed
    names = list(fitted.facts.features)
    row = np.full((1, len(names)), np.nan)
    row[0, names.index("real")] = 1e4
    filled = impute(fitted, row)[0]
    for name in ("dose", "visits"):
        seen = data.flat[data.splits["train"], names.index(name)]
        assert 0 < filled[names.index(name)] <= np.nanmax(seen) * (1 + 1e-6)


def test_the_surprise_of_a_cell_is_its_conditional_density(linear: tuple[Fitted, Dataset]) -> None:
    """-log p(x_j | the others), from the joint Gaussian of the model; what is expected there is its mean."""
    fitted, data = linear
    rows = data.flat[~np.isnan(data.flat).any(1)][:60].astype(float)
    cells = np.stack([np.arange(60), np.arange(60) % 5], 1)
    kept = np.arange(5) if fitted.scaling.kept is None else fitted.scaling.kept
    column = kept[cells[:, 1]]
    exact, means, spreads = [], [], []
    for row, j in zip(rows, column, strict=True):
        hidden = row.copy()
        hidden[j] = np.nan
        (mean,), (variance,) = conditional(fitted, hidden)
        exact.append(-stats.norm.logpdf(row[j], mean, np.sqrt(variance)))
        means.append(mean)
        spreads.append(np.sqrt(variance))
    assert np.abs(surprise(fitted, rows, cells) - exact).mean() < 0.1
    away = (expected(fitted, rows, cells) - means) / np.array(spreads)
    assert np.sqrt(np.mean(away**2)) < 0.3
    gap = rows.copy()
    gap[7, kept[2]] = np.nan
    assert np.isnan(surprise(fitted, gap, np.array([[7, 2], [7, 1]]))).tolist() == [True, False]
