"""Comparisons on real data: the same bits for any workers and after a stop, figures that the saved runs confirm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import vaelab
from vaelab import Spec, store
from vaelab.api.compare import compare
from vaelab.comparison import judging
from vaelab.comparison.lineup import ComparisonWatch, Lineup, parse_models
from vaelab.comparison.run import Comparison, ComparisonFailed, resume
from vaelab.data import Dataset, from_arrays, load
from vaelab.errors import InputError
from vaelab.settings.yardsticks import FINAL_DRAWS
from vaelab.vae.fitted import Fitted

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]

# Different epochs make two stacks, and so two jobs, of which one can be finished when the other is stopped.
MODELS: dict[str, Any] = {"wide": {"hidden": "32", "epochs": 4}, "narrow": {"hidden": "8"}}
SHARED = {"latent_dim": 2, "epochs": 3, "lr": 1e-2, "batch_size": 16}
OPTIONS: dict[str, Any] = {"settings": SHARED, "seeds": 2, "workers": 1, "figures": False}


@pytest.fixture(scope="module")
def small(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare(digits, MODELS, out=tmp_path_factory.mktemp("comparisons") / "small", **OPTIONS)


def timeless(value: Any) -> Any:
    """Results without what depends on the clock or the place."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in ("seconds", "comparison", "name")}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def test_results_are_what_is_promised(small: Comparison, digits: Dataset) -> None:
    results = json.loads((small.folder / "results.json").read_text())
    assert results == small.results
    assert set(results) == {
        "comparison", "name", "data", "models", "comparisons", "recommendation", "baseline", "beaten",
        "notes",
    }  # fmt: skip
    assert [m["name"] for m in results["models"]] == ["wide", "narrow"]
    assert [m["folder"] for m in results["models"]] == ["models/00-wide", "models/01-narrow"]
    every = {"neg_elbo", "rate", "distortion", "active_units", "averaged_kl_loss", "share", "mse"}
    for model in results["models"]:
        assert set(model["train"]) == every
        assert set(model["validation"]) == set(model["test"]) == every | {"bound", "probe", "knn"}
        assert set(model["gap"]) == set(model["test"]["bound"]) == {"mean", "se"}
        assert len(model["runs"]) == 2
    assert [run["seed"] for run in results["models"][0]["runs"]] == [
        run["seed"] for run in results["models"][1]["runs"]
    ]
    (pair,) = results["comparisons"]
    assert (pair["a"], pair["b"], pair["metric"]) == ("wide", "narrow", "neg_elbo")
    assert pair["paired"]["examples"] == len(digits.splits["validation"])
    assert not (small.folder / ".work").exists()


def test_figures_are_those_of_the_saved_runs(small: Comparison, digits: Dataset) -> None:
    for model in small.results["models"]:
        for s, run in enumerate(model["runs"]):
            fitted = Fitted.load(small.folder / run["folder"])
            for split in ("train", "validation", "test"):
                known = fitted.evaluate(digits, split, FINAL_DRAWS)
                for name in ("neg_elbo", "rate", "distortion", "active_units", "share"):
                    assert run[split][name] == known[name]
                averaged = known["distortion"] + known["rate"] / 2
                assert run[split]["averaged_kl_loss"] == pytest.approx(averaged)
                x = digits.x[digits.splits[split]]
                assert run[split]["mse"] == pytest.approx(np.mean((fitted.reconstruct(x) - x) ** 2), rel=1e-5)
            for split in ("validation", "test"):
                assert run[split]["bound"] == fitted.importance_bound(digits, split, 64).neg_log_p
            metrics = store.read_json(small.folder / run["folder"] / "metrics.json")
            assert metrics["test_opened"] == 1
            assert metrics["test"]["neg_elbo"] == run["test"]["neg_elbo"]
            assert fitted.row.equal(small.models[model["name"]][s].row)
        values = [run["test"]["neg_elbo"] for run in model["runs"]]
        assert model["test"]["neg_elbo"]["mean"] == pytest.approx(np.mean(values))
        assert model["test"]["neg_elbo"]["se"] == pytest.approx(np.std(values, ddof=1) / np.sqrt(2))
        assert model["gap"]["mean"] == pytest.approx(np.mean(values) - model["train"]["neg_elbo"]["mean"])


def test_two_workers_find_what_one_finds(small: Comparison, digits: Dataset, tmp_path: Path) -> None:
    other = compare(digits, MODELS, out=tmp_path / "two", **(OPTIONS | {"workers": 2}))
    assert timeless(other.results) == timeless(small.results)
    weights = "models/01-narrow/seed1/model.safetensors"
    assert (other.folder / weights).read_bytes() == (small.folder / weights).read_bytes()


class Stopping(ComparisonWatch):
    """Ctrl-C in the last stack's training, or after one run was judged."""

    def __init__(self, moment: str):
        self.moment, self.trained = moment, dict[str, int]()

    def training(self, epochs: Any) -> None:
        self.trained = dict(epochs)

    def epoch(self, names: Any, epoch: int) -> None:
        if self.moment == "training" and "01-narrow-seed0" in names and epoch == 2:
            raise KeyboardInterrupt

    def judging(self, done: int, total: int) -> None:
        if self.moment == "judging" and done == 1:
            raise KeyboardInterrupt


# A process that dies after it has put aside what it worked with.
LEAVES = "import pathlib, sys; from vaelab.store import temporary as t; t.temporary(pathlib.Path(sys.argv[1])).mkdir()"


@pytest.mark.parametrize(("moment", "left"), [("training", {"01-narrow-seed0", "01-narrow-seed1"}), ("judging", set())])
def test_stopped_and_resumed_is_as_if_never_stopped(
    small: Comparison, digits: Dataset, tmp_path: Path, moment: str, left: set[str]
) -> None:
    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        compare(digits, MODELS, out=out, watch=Stopping(moment), **OPTIONS)
    with pytest.raises(InputError, match="resume"):
        compare(digits, MODELS, out=out, **OPTIONS)
    watch = Stopping("never")
    found = resume(out, digits, workers=1, watch=watch)
    assert set(watch.trained) == left
    assert timeless(found.results) == timeless(small.results)
    assert {store.read_json(run / "metrics.json")["test_opened"] for run in out.glob("models/*/*")} == {1}
    subprocess.run([sys.executable, "-c", LEAVES, str(out)], check=True)
    again = resume(out, digits, workers=1)  # finished: nothing is trained, judged or opened again
    assert not list(out.glob(".tmp-*"))
    assert again.results == found.results
    assert {store.read_json(run / "metrics.json")["test_opened"] for run in out.glob("models/*/*")} == {1}
    with pytest.raises(InputError, match="other data"):
        resume(out, load("digits", seed=1))


def test_run_folders_are_one_seed_and_are_not_trained(small: Comparison, digits: Dataset, tmp_path: Path) -> None:
    run = small.folder / "models" / "00-wide" / "seed0"
    before, opened = (run / "manifest.json").read_bytes(), store.read_json(run / "metrics.json")["test_opened"]
    models = {"old": run, "<b>new</b>".replace("/", ""): Spec(hidden=(8,), latent_dim=3)}
    found = compare(digits, models, out=tmp_path / "both", **(OPTIONS | {"settings": SHARED | {"epochs": 2}}))
    old, new = found.results["models"]
    assert (old["folder"], old["given"], old["test"]["neg_elbo"]["se"]) == (str(run), True, None)
    assert old["runs"][0]["test"] == small.results["models"][0]["runs"][0]["test"]
    assert (run / "manifest.json").read_bytes() == before
    assert store.read_json(run / "metrics.json")["test_opened"] == opened + 1
    assert (new["name"], new["folder"], new["spec"]["epochs"]) == ("<b>new<b>", "models/01-b-new-b", 2)
    assert "one seed cannot distinguish models, and old has one" in found.recommendation
    assert Lineup.read(found.folder / "config.toml")[0].entries[0].run == run
    other = load("digits", seed=1)
    with pytest.raises(
        InputError, match=r"'old': .* with split seed 0, but the given data have split seed 1; use split seed 0"
    ):
        compare(other, models, out=tmp_path / "other", **OPTIONS)
    table = from_arrays(np.random.default_rng(0).normal(size=(50, 4)))
    with pytest.raises(InputError, match="was trained on other data"):
        compare(table, models, out=tmp_path / "other", **OPTIONS)
    assert not (tmp_path / "other").exists()


def test_unlike_likelihoods_have_no_winner_in_nats(digits: Dataset, tmp_path: Path) -> None:
    models = {"masses": {"likelihood": "bernoulli"}, "densities": {"likelihood": "gaussian"}}
    found = compare(digits, models, out=tmp_path / "unlike", **(OPTIONS | {"settings": {"hidden": "8", "epochs": 1}}))
    assert found.recommendation.startswith(
        "No winner in nats: likelihood differs (masses: bernoulli, densities: gaussian"
    )
    assert [row["metric"] for row in found.results["comparisons"]] == ["mse", "probe"]
    assert found.results["baseline"] is None


def test_a_table_without_labels_has_errors_in_standard_deviations(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(120, 3)) * [1, 100, 0.01]).astype(np.float32)
    data = from_arrays(x)
    found = compare(data, {"a": {"hidden": "8"}, "b": {"hidden": "none"}}, out=tmp_path / "table", **OPTIONS)
    figures = found.results["models"][0]["runs"][0]["test"]
    assert "probe" not in figures
    rows = data.rows("test")
    error = (found.models["a"][0].reconstruct(rows) - rows) / data.rows("train").std(0)
    assert figures["mse"] == pytest.approx(np.mean(error**2), rel=1e-4)


def test_many_training_rows_are_thinned(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "TRAIN_ROWS", 500)
    found = compare(digits, MODELS, out=tmp_path / "thin", **(OPTIONS | {"seeds": 1}))
    fitted = found.models["wide"][0]
    rows = digits.rows("train")[::3]
    known = -fitted.score_samples(rows, FINAL_DRAWS).mean()
    assert found.results["models"][0]["train"]["neg_elbo"]["mean"] == pytest.approx(known, rel=1e-6)
    assert any("one training row in 3" in note for note in found.results["notes"])


def test_a_model_that_cannot_be_trained_ends_the_comparison(digits: Dataset, tmp_path: Path) -> None:
    wild = {"a": {"lr": 100.0, "optimizer": "sgd", "clip": 1e30}, "b": {"hidden": "8"}}
    with pytest.raises(ComparisonFailed, match=r"00-a-seed0 failed: .*lr"):
        compare(digits, wild, out=tmp_path / "wild", **OPTIONS)


def test_models_are_parsed_and_config_says_all_again(tmp_path: Path) -> None:
    file = tmp_path / "deep.toml"
    file.write_text("hidden = [64, 32]\nlatent_dim = 3\n")
    models = parse_models(["wide:hidden=64-32,lr=1e-3", "plain:", str(file), f"mine:{file}", str(tmp_path)])
    assert list(models) == ["wide", "plain", "deep", "mine", tmp_path.name]
    del models["mine"]
    lineup = Lineup.create(models, {"latent_dim": 2, "lr": 1e-2}, seeds=3, seed=7)
    lineup.save(tmp_path, {"source": "digits", "target": None})
    read, source = Lineup.read(tmp_path / "config.toml")
    assert source == {"source": "digits"}
    assert (read.seeds, read.seed, read.figures) == (3, 7, True)
    wide, plain, deep, run = read.entries
    assert wide.settings == {"hidden": "64-32", "lr": 1e-3, "latent_dim": 2}
    assert plain.settings == {"lr": 1e-2, "latent_dim": 2}
    assert deep.settings == {"hidden": "64-32", "lr": 1e-2, "latent_dim": 3}
    assert run.run == tmp_path


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (["a:hidden=8"], "at least two models, but got 1"),
        (["a:hidden=8", "a:hidden=9"], "'a' appears twice"),
        (["../a:hidden=8", "b:"], "must not look like a path"),
        (["a\nb:hidden=8", "b:"], "printable"),
        (["a:hiden=8", "b:"], "model 'a': unknown setting 'hiden'; did you mean 'hidden'"),
        (["a:hidden=8,lr=-1", "b:"], "model 'a': `lr` must be above 0"),
        (["a:hidden=8,=2", "b:"], "model 'a': a setting is written name=value"),
        (["a:seed=3", "b:"], "model 'a' must leave `seed` out"),
        (["hidden=8", "b:"], "NAME:SETTING=VALUE"),
        (["a:nothing.toml", "b:"], "nothing.toml does not exist"),
    ],
)
def test_bad_models_are_refused_in_one_line(models: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        Lineup.create(parse_models(models))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("models", "options", "said"),
    [
        ({"a": {}, "b": {}}, {}, "have the same settings"),
        ({"a": {}, "b": {"hidden": "8"}}, {"seeds": 0}, "`seeds`"),
        ({"a": {}, "b": {"hidden": "8"}}, {"workers": 0}, "`workers`"),
        ({"a": {}, "b": {"hidden": "8"}}, {"settings": {"seed": 1}}, "leave `seed` out"),
        ({"a": {"batch_size": 5000}, "b": {}}, {}, "model 'a': `batch_size`"),
        ({"a": Path("nowhere"), "b": {}}, {}, "model 'a': nowhere is not a run folder"),
        ({"a": 3, "b": {}}, {}, "model 'a' must be a Spec"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_written(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: Any, options: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        compare(digits, models, out="new", **(OPTIONS | options))
    assert said.replace("nowhere", str(tmp_path / "nowhere")) in str(caught.value)
    assert not Path("new").exists()


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return vaelab(["compare", *map(str, arguments)], Path.cwd())


def test_the_command_prints_one_document_or_a_table(small: Comparison, tmp_path: Path) -> None:
    models = ["--model", "wide:hidden=32,epochs=4", "--model", "narrow:hidden=8"]
    shared = [
        "--set",
        "latent_dim=2",
        "--set",
        "epochs=3",
        "--set",
        "lr=1e-2",
        "--set",
        "batch_size=16",
        "--seeds",
        "2",
        "--workers",
        "1",
    ]
    first = run("digits", *models, *shared, "--json", "--out", tmp_path / "one")
    assert first.returncode == 0, first.stderr
    assert timeless(json.loads(first.stdout)) == timeless(small.results)
    assert (tmp_path / "one" / "report.html").stat().st_size > 100_000
    again = run("--config", tmp_path / "one" / "config.toml", "--workers", "1", "--out", tmp_path / "two")
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "two" / "results.json").read_text())["recommendation"] == small.recommendation
    printed = " ".join(again.stdout.split())
    assert small.recommendation in printed
    assert printed.index("validation neg_elbo") < printed.index(small.recommendation) < printed.index("test neg_elbo")
    refused = run("digits", "--model", "a:hidden=8", "--out", tmp_path / "three")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
