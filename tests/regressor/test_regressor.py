"""Regressors: density and gradient against quadrature and differences, figures against scikit-learn, intervals against
their guarantee, the study as a user meets it.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import torch
from scipy import integrate, stats
from sklearn import metrics
from sklearn.utils.estimator_checks import parametrize_with_checks

import commands
import vaelab
from vaelab.data import Dataset, from_arrays, load
from vaelab.engine.training import Stack, epochs
from vaelab.errors import InputError, StoreError
from vaelab.regressor import scores
from vaelab.regressor.baselines import baselines
from vaelab.regressor.density import EDGE, LEAST, best_scale, fit_loss, log_density
from vaelab.regressor.estimator import Regressor
from vaelab.regressor.feed import NumericFeed, TargetScale, resolve
from vaelab.regressor.fitted import FittedRegressor
from vaelab.regressor.fused import steps
from vaelab.regressor.learning import Regression
from vaelab.regressor.spec import RegressorSpec
from vaelab.regressor.task import TASK
from vaelab.regressor.yardsticks import YARDSTICKS
from vaelab.study import tune
from vaelab.study.worker import dump_data, open_data
from vaelab.supervised.baselines import Baseline, OnTest, beaten_by

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]


def wave(n: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """x, y and the scale of its noise: y = sin(3 a) + b + noise whose scale grows with b."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(n, 2))
    scale = 0.05 + 0.25 * (x[:, 1] > 0)
    return x, np.sin(3 * x[:, 0]) + x[:, 1] + scale * rng.normal(size=n), scale


@pytest.fixture(scope="module")
def data() -> Dataset:
    x, y, _ = wave(500)
    return from_arrays(x, y, numeric=True, name="wave")


def spec_of(data: Dataset, **settings: object) -> RegressorSpec:
    return resolve(RegressorSpec.create(**{"device": "cpu", "epochs": 3, "batch_size": 32, **settings}), data)


# --- the density ------------------------------------------------------------------------------------------------------


def density(r: Any) -> Any:
    r = np.atleast_1d(np.asarray(r, dtype=np.float64))
    return np.exp(log_density(r, np.zeros(len(r)), np.ones(len(r))))


def test_density_has_mass_one_and_is_gaussian_up_to_three_scales() -> None:
    inner, _ = integrate.quad(lambda r: density(r)[0], 0, EDGE)
    outer, _ = integrate.quad(lambda r: density(r)[0], EDGE, np.inf)
    assert 2 * (inner + outer) == pytest.approx(1, abs=1e-9)
    r = np.linspace(-EDGE, EDGE, 7)
    np.testing.assert_allclose(density(r) / density(0.0), stats.norm.pdf(r) / stats.norm.pdf(0), rtol=1e-12)
    assert density(0.0)[0] == pytest.approx(stats.norm.pdf(0), rel=1e-3)
    at, step = EDGE, 1e-5  # value and slope continue
    slopes = np.diff(np.log(density([at - step, at, at + step]))) / step
    np.testing.assert_allclose(slopes, -EDGE, atol=1e-3)


def test_loss_is_the_density_in_standardised_units_and_outliers_have_bounded_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(1, 40, 2, generator=generator, dtype=torch.float64).requires_grad_()
    y = 4 * torch.randn(1, 40, generator=generator, dtype=torch.float64)
    y[0, 0] = 1e12
    found = fit_loss(outputs, y)
    mean, scale = outputs.detach()[0, :, 0].numpy(), outputs.detach()[0, :, 1].exp().numpy() + LEAST
    np.testing.assert_allclose(found.neg_log_density[0], -log_density(y[0].numpy(), mean, scale))
    (gradient,) = torch.autograd.grad(found.loss.sum(), outputs)
    assert float(gradient[..., 1].abs().max()) * 40 <= EDGE**2 - 1 + 1e-9


@pytest.mark.parametrize("constant", [False, True])
def test_kernel_and_autograd_have_the_same_density_and_gradient(constant: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    outputs, y = torch.randn(50, 2, generator=generator), 5 * torch.randn(50, generator=generator)
    shared = torch.tensor(-0.4, dtype=torch.float64).requires_grad_()
    leaf = outputs.double().requires_grad_()
    log_scale = shared.expand(50) if constant else leaf[:, 1]
    found = fit_loss(torch.stack([leaf[:, 0], log_scale], -1)[None], y[None].double())
    expected = torch.autograd.grad(found.loss.sum(), [leaf, shared], allow_unused=True)
    assert expected[0] is not None
    padded, sums = np.zeros((50, 16), np.float32), np.zeros(2)
    padded[:, :2] = outputs
    of_constant = steps.density(padded, y.numpy(), np.float32(-0.4 if constant else np.nan), sums)
    assert sums == pytest.approx([float(found.neg_log_density.sum()), float(found.squared_error.sum())], rel=1e-5)
    np.testing.assert_allclose(padded[:, :2], expected[0], atol=1e-6)
    assert of_constant == pytest.approx(float(expected[1]) if constant else 0.0, rel=1e-5)
    assert not padded[:, 2:].any()


@pytest.mark.parametrize("settings", [{}, {"hidden": "none"}, {"dropout1": 0.5, "weight_decay": 0.1}], ids=str)
def test_a_stack_by_both_engines_and_alone(data: Dataset, settings: Mapping[str, Any]) -> None:
    def stack_of(engine: str, which: slice) -> Any:
        members = [{"noise": "constant", "seed": 1}, {"seed": 2, "hidden": settings.get("hidden", "9-30")}]
        base = {"hidden": "20-10", "lr": 1e-3, **settings, "engine": engine}
        specs = [spec_of(data, **{**base, **own}) for own in members[which]]
        stack: Any = Stack(specs, NumericFeed(data, specs[0]), Regression())
        return stack, list(epochs(stack))

    (one, records), (other, expected) = stack_of("fused", slice(2)), stack_of("autograd", slice(2))
    assert one.fused is not None
    torch.testing.assert_close(one.parameters, other.parameters, atol=2e-5, rtol=1e-4)
    for mine, theirs in zip(records[-1], expected[-1], strict=True):
        assert mine.validation == pytest.approx(theirs.validation, abs=1e-4)
        assert mine.train == pytest.approx(theirs.train, abs=1e-4)
    alone, _ = stack_of("fused", slice(1))
    assert torch.equal(alone.parameters[0], one.parameters[0])
    weights = one.model.unpad(one.parameters[0].detach(), one.specs[0])
    assert not weights[one.model.last_bias.replace("bias", "weight")][:, 1].any()  # constant noise
    assert weights[one.model.last_bias][0, 1] != 0


def test_best_scale_is_where_the_density_of_errors_is_highest() -> None:
    errors = np.random.default_rng(0).normal(size=4000) * 7
    assert best_scale(errors, 1e-3) == pytest.approx(errors.std(), rel=0.02)
    grid = np.exp(np.linspace(-2, 6, 4001))
    for found in (errors[:30], np.append(errors[:30], 1e6)):
        zeros = np.zeros(len(found))
        best = max(grid, key=lambda s: float(log_density(found, zeros, np.full(len(found), s)).mean()))
        assert best_scale(found, 1e-3) == pytest.approx(best, rel=0.01)
    assert best_scale(np.zeros(5), 1e-3) == 1e-3


# --- metrics and intervals --------------------------------------------------------------------------------------------


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y, mean = rng.normal(size=300), rng.normal(size=300)
    found = scores.metrics(y, mean, np.ones(300))
    assert found["r2"] == pytest.approx(metrics.r2_score(y, mean))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, mean))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, mean))
    assert found["log_density"] == pytest.approx(stats.norm.logpdf(y, mean).mean(), abs=0.02)
    drawn = [rng.integers(300, size=300) for _ in range(400)]
    for name in ("rmse", "mae", "log_density"):  # the bootstrap's standard error
        spread = np.std([scores.metrics(y[rows], mean[rows], np.ones(300))[name] for rows in drawn])
        assert found["errors"][name] == pytest.approx(spread, rel=0.15)


def test_intervals_cover_what_they_promise() -> None:
    rng = np.random.default_rng(0)
    for n, level in ((19, 0.9), (49, 0.5), (9, 0.9)):
        draws = np.abs(rng.standard_t(3, size=(4000, n + 1)))
        covered = [own[-1] <= scores.half_width(np.sort(own[:-1]), level) for own in draws]
        assert np.mean(covered) == pytest.approx(
            level, abs=4 * np.sqrt(level * (1 - level) / 4000)
        )  # exactly the level
    with pytest.raises(InputError, match=r"needs at least 9 validation rows, but the model was calibrated on 8"):
        scores.half_width(np.arange(8.0), 0.9)
    for level in (0.0, 1.0, 90.0):
        with pytest.raises(InputError, match="between 0 and 1"):
            scores.half_width(np.arange(8.0), level)


def test_targets_are_scaled_by_the_bulk_of_them() -> None:
    y = np.random.default_rng(0).normal(5, 3, size=2000)
    for found in (TargetScale.of(y), TargetScale.of(np.append(y, [1e12, -1e15]))):
        assert (found.center, found.scale) == (pytest.approx(5, abs=0.2), pytest.approx(3, rel=0.05))
    half = TargetScale.of(np.array([0.0] * 8 + [1.0, 3.0]))
    assert half.scale == pytest.approx(0.4 * np.sqrt(np.pi / 2))


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted() -> Regressor:
    x, y, _ = wave(1500)
    return Regressor(layers=2, units1=32, units2=32, dropout1=0, dropout2=0, epochs=60, lr=5e-3).fit(x, y)


def test_mean_and_scale_of_the_noise_are_recovered(fitted: Regressor) -> None:
    x, y, scale = wave(4000, seed=1)
    mean, found = fitted.fitted_.predict_noise(x)
    assert np.sqrt(np.mean((mean - np.sin(3 * x[:, 0]) - x[:, 1]) ** 2)) < 0.06
    assert np.median(found[x[:, 1] > 0.1]) == pytest.approx(0.3, rel=0.15)
    assert 0.04 < np.median(found[x[:, 1] < -0.1]) < 0.08  # some of it the error of the mean
    best = stats.norm.logpdf(y, np.sin(3 * x[:, 0]) + x[:, 1], scale).mean()
    assert log_density(y, mean, found).mean() > best - 0.15
    lower, upper = fitted.predict_interval(x)
    n = len(fitted.fitted_.extras["residuals"])
    assert np.mean((y >= lower) & (y <= upper)) == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / n))


def test_units_and_outliers_change_nothing_but_the_unit() -> None:
    x, y, _ = wave(400)
    settings: dict[str, Any] = {"layers": 1, "units1": 16, "dropout1": 0, "epochs": 20, "lr": 5e-3}
    own = Regressor(**settings).fit(x, y)
    other = Regressor(**settings).fit(x * [1024, 0.125] + [0, 2], 256 * y - 1024)  # powers of two round nothing
    new = wave(50, seed=2)[0]
    expected, found = own.predict(new), other.predict(new * [1024, 0.125] + [0, 2])
    np.testing.assert_allclose((found + 1024) / 256, expected, atol=2e-3)
    assert other.history_[-1]["validation"]["log_density"] == pytest.approx(
        own.history_[-1]["validation"]["log_density"] - np.log(256), abs=5e-3
    )
    wild = y.copy()
    wild[:8] = [1e9, -1e12, 1e13, 1e6, -1e5, 1e4, 3e3, -1e14]
    assert metrics.r2_score(y, Regressor(**settings).fit(x, wild).predict(x)) > own.score(x, y) - 0.05
    wild[0] = 1e300
    with pytest.raises(InputError, match=r"but one is 1e\+300; add it to `na`"):
        Regressor(**settings).fit(x, wild)


def test_finite_rows_have_finite_predictions_however_far_they_are() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4))
    y = np.exp(6 * x[:, 0] + 3 * np.sin(x[:, 1]))  # whose noise grows with x0, and so does the log-scale
    model = Regressor(epochs=30, hidden="32").fit(x, y)
    far = np.repeat(x[:1], 6, 0)
    far[:, 0] = [1e3, 1e6, 1e12, 1e38, 1e100, 1e149]
    assert np.isfinite([model.predict(far), *model.predict_interval(far)]).all()
    outputs = np.array([[0.5, 69.0], [0.5, 800.0], [0.5, -1e9]])
    mean, scale = scores.in_own_units(outputs, TargetScale(1e150, 1e150))
    assert np.isfinite([mean, scale, log_density(np.zeros(3), mean, scale)]).all()
    assert scale[0] == 1e150 * (np.exp(69.0) + LEAST)  # as without a bound


def test_a_saved_regressor_predicts_as_before(data: Dataset, tmp_path: Path) -> None:
    spec = spec_of(data, layers=1, units1=20)
    feed = NumericFeed(data, spec)
    stack: Any = Stack([spec], feed, Regression())
    list(epochs(stack))
    model = FittedRegressor.of(feed, spec, stack.best[0])
    model.save(tmp_path / "run", [], {})
    loaded = vaelab.load_regressor(tmp_path / "run")
    x = data.rows("test")
    for mine, theirs in zip(loaded.predict_interval(x, 0.8), model.predict_interval(x, 0.8), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert repr(loaded).startswith("FittedRegressor(wave, mlp 20, y")
    assert data.targets is not None
    found, y = loaded.evaluate(data, "test"), data.targets[data.splits["test"]]
    assert found["r2"] == pytest.approx(metrics.r2_score(y, loaded.predict(x)))
    _, lower, upper = loaded.predict_interval(x)
    assert found["interval"]["coverage"] == ((y >= lower) & (y <= upper)).mean()
    for wrong, load_it in (("vaelab predict", vaelab.load), ("a classifier", vaelab.load_classifier)):
        with pytest.raises(StoreError, match=wrong):
            load_it(tmp_path / "run")


def test_simpler_models_are_those_of_scikit_learn_on_the_same_rows(data: Dataset) -> None:
    found = {own.name: own for own in baselines(NumericFeed(data, spec_of(data)))}
    assert data.targets is not None
    train, test = (data.targets[data.splits[split]] for split in ("train", "test"))
    rmse = float(np.sqrt(np.mean((test - train.mean()) ** 2)))
    assert found["the mean"].test.all["rmse"] == pytest.approx(rmse)
    design = np.c_[np.ones(len(train)), data.rows("train")]
    weights, *_ = np.linalg.lstsq(design, train, rcond=None)
    linear = np.c_[np.ones(len(test)), data.rows("test")] @ weights
    assert found["ridge regression"].test.all["r2"] == pytest.approx(metrics.r2_score(test, linear), abs=0.01)
    assert found["gradient boosting"].test.all["r2"] > found["ridge regression"].test.all["r2"]


def test_a_simpler_model_is_better_only_beyond_the_noise_of_the_difference() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=300)

    def model(noise: float) -> OnTest:
        mean = y + noise * rng.normal(size=300)
        return OnTest(lambda rows: scores.metrics(y[rows], mean[rows], np.ones(len(rows))), 300)

    def said(simpler: OnTest, own: OnTest) -> str:
        return beaten_by([Baseline("ridge regression", simpler.all, simpler)], own.all, own, YARDSTICKS["r2"])

    good, alike, bad = model(0.5), model(0.5), model(0.8)
    first, second = sorted((good, alike), key=lambda each: float(each.all["r2"]))
    assert said(first, second) == ""
    assert "no better than a simpler model on test: ridge regression has 0.7" in said(second, first)
    assert said(good, bad).startswith("A simpler model is better by R² on test: ridge regression, with 0.7")
    assert beaten_by([], bad.all, bad, YARDSTICKS["r2"]) == ""
    equal = OnTest(lambda rows: scores.metrics(np.ones(len(rows)), np.ones(len(rows)), np.ones(len(rows))), 300)
    assert said(equal, equal) == ""  # R² of equal targets is none

    def of(last: float) -> OnTest:  # without the last row R² is none, and so is the error of a difference
        y, mean = np.array([1.0, 1.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0, last])
        return OnTest(lambda rows: scores.metrics(y[rows], mean[rows], np.ones(len(rows))), 4)

    assert said(of(1.9), of(1.5)).endswith("a difference of 0.32.")  # (0.5² - 0.1²) / (4 var(y))


@parametrize_with_checks([Regressor(units1=32, units2=16, epochs=10)])
def test_scikit_learn_takes_it_for_a_regressor(estimator: Regressor, check: Any) -> None:
    check(estimator)


# --- the study --------------------------------------------------------------------------------------------------------


def write_table(folder: Path) -> Path:
    """A table with ids, a category, missing cells, and 7 rows without a target."""
    x, y, _ = wave(300)
    rng = np.random.default_rng(3)
    colours = rng.choice(["red", "blue"], size=300)
    y = y + (colours == "red")
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "a", "b", "colour", "price"])
        for i in range(300):
            cells = [f"row-{i}x", f"{x[i, 0]:.4f}", "" if i % 13 == 0 else f"{x[i, 1]:.4f}", colours[i]]
            writer.writerow([*cells, "" if i % 47 == 5 else f"{1000 * y[i]:.2f}"])
    return folder / "table.csv"


REGRESS = ["--target", "price", "--trials", "4", "--set", "epochs=12", "--set", "lr=0.01", "--seed", "1"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regress")
    table = write_table(folder)
    done = commands.vaelab(
        ["regress", str(table), *REGRESS, "--workers", "1", "--figures", "best", "--out", "study", "--json"], folder
    )
    assert done.returncode == 0, done.stderr
    assert "7 rows without a target were left out" in done.stderr
    (folder / "printed.json").write_text(done.stdout)
    return folder / "study"


def test_a_study_learns_a_table_and_says_how_well(study: Path) -> None:
    results = json.loads((study / "results.json").read_text())
    assert results == json.loads((study.parent / "printed.json").read_text())
    test = results["best"]["test"]
    assert test["r2"] > 0.7
    assert 0.8 <= test["interval"]["coverage"] <= 1
    assert results["data"]["examples"] == 293
    assert json.loads((study / "best" / "metrics.json").read_text())["test_opened"] == 1
    assert [own["name"] for own in results["baselines"]] == ["the mean", "ridge regression", "gradient boosting"]
    for name, title in (("log_density", "log-density"), ("r2", "R²")):
        is_beaten = max(own["test"][name] for own in results["baselines"]) > test[name]
        assert (f"by {title}" in results["beaten"].replace("By", "by")) == is_beaten
    page = (study / "report.html").read_text()
    for words in ("predicts price with R²", "Beside simpler models", "Intervals</h2>", "coverage", "Finalists"):
        assert words in page
    figures = {path.name for path in (study / "best" / "figures").glob("*.png")}
    assert figures == {"learning.png", "predictions.png", "residuals.png"}


def test_a_study_resumes_and_workers_get_the_targets(study: Path, tmp_path: Path) -> None:
    data = load(study.parent / "table.csv", target="price", numeric=True)
    opened = open_data(dump_data(data, tmp_path / "data"))
    assert opened.fingerprint == data.fingerprint
    np.testing.assert_array_equal(opened.targets, data.targets)
    before = json.loads((study / "results.json").read_text())
    shutil.copytree(study, tmp_path / "study")
    again = tune.resume(tmp_path / "study", data, TASK, workers=1)
    assert again.results["best"] == before["best"]
    assert again.results["baselines"] == before["baselines"]
    assert again.results["seconds"] == before["seconds"]  # nothing was trained


def test_predict_writes_ids_means_and_intervals(study: Path, tmp_path: Path) -> None:
    table = study.parent / "table.csv"
    done = commands.vaelab(["predict", str(study), str(table), "--interval", "0.5"], tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0]) == ["name", "split", "mean", "lower", "upper"]
    assert (len(rows), rows[5]["name"]) == (300, "row-5x")  # also those without a target
    data = load(table, target="price", numeric=True)
    split = {str(name): own for own, numbers in data.splits.items() for name in data.ids[numbers]}
    assert {row["name"]: row["split"] for row in rows if row["split"]} == split
    assert rows[5]["split"] == ""
    wide = commands.vaelab(["predict", str(study), str(table), "--out", "all.parquet"], tmp_path)
    assert wide.returncode == 0, wide.stderr
    found = pyarrow.parquet.read_table(tmp_path / "all.parquet").to_pydict()
    np.testing.assert_allclose(found["mean"], [float(row["mean"]) for row in rows], rtol=1e-6)
    narrow = np.array([float(row["upper"]) - float(row["lower"]) for row in rows])
    assert (np.subtract(found["upper"], found["lower"]) > narrow).all()


def test_a_target_that_is_the_same_in_all_rows_asks_for_another_one() -> None:
    x = np.random.default_rng(0).normal(size=(120, 2))
    with pytest.raises(InputError, match="must vary, but all 120 are 3; there is nothing to learn, give another one"):
        Regressor().fit(x, np.full(120, 3.0))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["regress", "table.csv", "--target", "colour"], ["must hold numbers", "vaelab classify"]),
        (["regress", "table.csv", "--target", "few"], ["at least 3 different values", "vaelab classify"]),
        (["regress", "table.csv", "--target", "vast"], ["within ±1e+70", "rescale it"]),
        (["regress", "table.csv"], ["numeric target is needed", "--target"]),
        (["regress", "digits"], ["digits has classes", "vaelab classify"]),
        (["classify", "table.csv", "--target", "price"], ["continuous value", "vaelab regress"]),
        (["regress", "table.csv", "--target", "price", "--yardstick", "r3"], ["unknown yardstick", "r2"]),
    ],
)
def test_targets_that_do_not_fit_get_one_line(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    rows = [f"{i},{'red' if i % 2 else 'blue'},{i % 2},{i / 7:.3f},{i}e80" for i in range(60)]
    (tmp_path / "table.csv").write_text("a,colour,few,price,vast\n" + "\n".join(rows) + "\n")
    done = commands.vaelab([*arguments, "--out", "study"], tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert not (tmp_path / "study").exists()


def test_intervals_are_of_numbers(study: Path, tmp_path: Path) -> None:
    done = commands.vaelab(["predict", str(study), str(study.parent / "table.csv"), "--interval", "0.99"], tmp_path)
    assert done.returncode == 2
    assert "an interval of 0.99 needs at least 99 validation rows" in done.stderr
