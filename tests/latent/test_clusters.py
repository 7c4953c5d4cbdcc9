"""Clustering on real digits, end to end: figures that the saved files confirm, labels that are read and no others."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import commands
import vaelab
from pages import Page
from vaelab import metrics, store
from vaelab.api.cluster import cluster
from vaelab.data import Dataset, from_arrays
from vaelab.errors import InputError, StoreError
from vaelab.latent import draw_balanced
from vaelab.latent.anomaly import anomaly
from vaelab.latent.budget import label_budget
from vaelab.latent.clusters import Clustering, open_clusters, sample_class
from vaelab.latent.manifold import Manifold
from vaelab.latent.options import Options, encoder_settings
from vaelab.report import build_cluster_report
from vaelab.vae.spec import Spec

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]

SETTINGS = {"latent_dim": 6, "hidden": "64", "epochs": 30}
QUICK: dict[str, Any] = {"settings": SETTINGS, "em_starts": 2, "figures": False, "budget": False}


@pytest.fixture(scope="module")
def found(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Clustering:
    """Everything, in less than the half minute that is promised."""
    began = time.process_time()
    out = tmp_path_factory.mktemp("clusters") / "digits"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaelab.latent.results.label_budget", functools.partial(label_budget, draws=3))
        made = cluster(digits, settings=SETTINGS, components="10,30", labels=100, out=out)
    assert time.process_time() - began < 30
    return made


def test_results_are_what_is_promised(found: Clustering) -> None:
    results = json.loads((found.folder / "results.json").read_text())
    assert results == json.loads(json.dumps(found.results))
    assert results["components"] in (10, 30)
    assert set(results["bic"]) == {"10", "30"}
    assert results["bic"][str(results["components"])] == min(results["bic"].values())
    for split in ("test", "whole"):
        assert {"hungarian_accuracy", "purity", "nmi", "ari", "labelled_accuracy", "ece", "log_loss", "brier"} <= set(
            results[split]
        )
    assert [row["labels"] for row in results["label_budget"]] == [10, 20, 50, 100, 200, 500, 1000, 1258]
    assert set(results["label_budget"][0]["accuracy"]) == {"mixture", "graph", "probe", "neighbours"}
    few = {name: own["mean"] for name, own in results["label_budget"][1]["accuracy"].items()}
    assert few["graph"] > max(few["probe"], few["neighbours"])  # what the unlabelled examples are worth
    assert all((np.diff(curve) >= -1e-6).all() for curve in results["em"].values())
    assert results["labels"]["per_class"] == [10] * 10
    assert results["methods"]["graph"]["ece"] < 0.1  # left as it spreads, 0.4
    assert set(results["methods"]) == {"mixture", "graph"}
    assert store.read_json(found.folder / "model" / "metrics.json")["test_opened"] == 1


def test_figures_are_those_of_the_saved_files(found: Clustering, digits: Dataset) -> None:
    model, clusters = open_clusters(found.folder)
    assert clusters.table is not None
    assert digits.labels is not None
    rows = digits.splits["test"]
    truth = digits.labels[rows]
    shares = clusters.shares(*model.encode(digits.flat[rows]))
    row = next(r for r in found.results["mixtures"] if r["components"] == found.results["components"])
    assert row["test"] == found.results["test"]
    assert row["test"]["labelled_accuracy"] == (clusters.table.predict(shares) == truth).mean()
    assert row["test"]["ari"] == metrics.cluster_metrics(shares.argmax(1), truth, shares.shape[1], 10)["ari"]
    answers, _ = clusters.predict(*model.encode(digits.flat[rows]))
    assert np.trace(np.array(found.results["confusion"])) == (answers == truth).sum()
    read = store.read_json(found.folder / "labels.json")
    assert digits.labels[read["rows"]].tolist() == read["classes"]
    assert np.isin(read["rows"], digits.splits["train"]).all()
    assert clusters.table.counts.sum() == pytest.approx(100)


def test_validation_chooses_what_predicts_and_the_other_way_can_be_named(found: Clustering, digits: Dataset) -> None:
    assert digits.labels is not None
    held = digits.splits["validation"]
    right = {}
    for by in ("mixture", "graph"):
        told = vaelab.predict(found.folder, digits.x, by=by)
        answers = told.answers
        right[by] = (answers[held] == digits.labels[held]).mean()
        assert found.results["validation"][by]["labelled_accuracy"] == right[by]
        test = digits.splits["test"]
        own = found.results["methods"][by]["labelled_accuracy"]
        assert (answers[test] == digits.labels[test]).mean() == own
    best = max(right, key=lambda name: right[name])
    assert found.results["predicts_by"] == best
    told = vaelab.predict(found.folder, digits.x)
    assert (told.answers == vaelab.predict(found.folder, digits.x, by=best).answers).all()
    (note,) = told.notes
    assert f"{100 * right['graph']:.1f} %" in note
    assert f"{100 * right['mixture']:.1f} %" in note
    assert "`by` = " in note
    with pytest.raises(InputError, match="did you mean 'graph'"):
        vaelab.predict(found.folder, digits.x, by="grap")


def test_shuffling_every_other_label_changes_no_byte_of_the_model(digits: Dataset, tmp_path: Path) -> None:
    assert digits.labels is not None
    train = digits.splits["train"]
    rows = train[draw_balanced(digits.labels[train], 40, 10, seed=5)]
    others = np.setdiff1d(np.arange(len(digits.x)), rows)
    shuffled = digits.labels.copy()
    shuffled[others] = np.random.default_rng(0).permutation(shuffled[others])
    assert (shuffled != digits.labels).mean() > 0.8
    first = cluster(digits, labels=rows, components=(10, 20), out=tmp_path / "a", **QUICK)
    other = dataclasses.replace(digits, labels=shuffled)
    second = cluster(other, labels=rows, components=(10, 20), out=tmp_path / "b", **QUICK)
    kept = ("mixture.json", "mixture.safetensors", "labels.json", "propagation.safetensors")
    for name in (*kept, "model/model.safetensors", "model/spec.json"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes(), name
    assert first.results["components"] == second.results["components"]
    assert first.results["test"]["nmi"] > 0.3 > second.results["test"]["nmi"]  # the figures do read the true classes


def test_a_killed_clustering_resumes_as_if_nothing_had_happened(digits: Dataset, tmp_path: Path) -> None:
    """kill -9 in the midst of the encoder's training, which goes on from its checkpoint."""
    options: dict[str, Any] = QUICK | {"settings": SETTINGS | {"epochs": 8}, "starts": 2, "components": 10}
    whole = cluster(digits, out=tmp_path / "whole", **options)
    code = f"""
import os, signal
from vaelab.api.cluster import cluster
from vaelab.data import load
from vaelab.study import jobs
jobs.CHECKPOINT_SECONDS = 0.0
cluster(load("digits"), out={str(tmp_path / "killed")!r}, **{options!r},
        progress=lambda epoch: os.kill(os.getpid(), signal.SIGKILL) if epoch == 6 else None)
"""
    killed = commands.start([], code=code)
    killed.join(120)
    assert killed.exitcode == -9
    with pytest.raises(StoreError, match=r"`vaelab cluster --resume .*` to continue"):
        cluster(digits, out=tmp_path / "killed", **options)
    with pytest.raises(InputError, match="other data or options"):
        cluster(digits, out=tmp_path / "killed", resume=True, **options | {"components": 20})
    seen: list[int] = []
    back = cluster(digits, out=tmp_path / "killed", resume=True, progress=seen.append, **options)
    assert seen == [6, 7, 8]
    names = ["mixture.json", "mixture.safetensors", "labels.json", "config.toml", "model/model.safetensors"]
    assert [n for n in names if (back.folder / n).read_bytes() != (whole.folder / n).read_bytes()] == []
    assert back.results["test"] == whole.results["test"]
    kept = min(whole.results["starts"], key=lambda start: start["neg_elbo"])
    assert kept["kept"]
    assert back.model.spec.seed == kept["seed"]
    said: list[str] = []
    again = cluster(digits, out=tmp_path / "killed", resume=True, say=said.append, **options)
    assert said == [f"note: {back.folder} is finished; there is nothing to resume."]
    assert again.results["test"] == back.results["test"]
    with pytest.raises(InputError, match="nothing to resume"):
        cluster(digits, out=tmp_path / "nowhere", resume=True, **options)
    with pytest.raises(InputError, match="`starts` must be"):
        cluster(digits, run=whole.folder / "model", starts=2, labels=10)


def test_samples_of_a_class_come_from_its_components(found: Clustering, digits: Dataset) -> None:
    model, images = sample_class(found.folder, "0", 50, seed=1)
    assert images.shape == (50, 8, 8)
    assert digits.labels is not None
    train = digits.splits["train"]
    centres = np.stack([digits.flat[train][digits.labels[train] == c].mean(0) for c in range(10)])
    assert found.clusters.table is not None
    hits = []
    for code in np.flatnonzero(found.clusters.table.known).tolist():
        own = sample_class(found.folder, str(code), 100, seed=1)[1].reshape(100, 1, -1)
        hits.append((((own - centres) ** 2).sum(2).argmin(1) == code).mean())
    assert np.mean(hits) > 0.35  # a tenth by chance, and nearest centres are wrong for one example in ten themselves
    assert (sample_class(found.folder, "0", 50, seed=1)[1] == images).all()
    assert model.folder == found.folder / "model"
    with pytest.raises(InputError, match="unknown class 'zero'"):
        sample_class(found.folder, "zero", 1)
    with pytest.raises(InputError, match="no mixture; make one with `vaelab cluster"):
        sample_class(found.folder / "model", "0", 1)


def test_a_run_is_clustered_in_its_folder(found: Clustering, digits: Dataset, tmp_path: Path) -> None:
    run = found.folder / "model"
    again = cluster(digits, run=run, components=10, labels="validation", points="means", **(QUICK | {"settings": {}}))
    assert again.folder == run / "clusters"
    assert again.results["labels"]["number"] == len(digits.splits["validation"])
    assert again.results["predicts_by"] == "mixture"  # no label is left to choose by
    assert any("no labelled validation rows are left" in note for note in again.results["notes"])
    assert sample_class(run, "3", 2)[1].shape == (2, 8, 8)
    assert vaelab.load(run / "clusters").row.equal(vaelab.load(run).row)
    moved = cluster(digits, run=run, components=10, out=tmp_path / "away", **(QUICK | {"settings": {}}))
    assert open_clusters(moved.folder)[0].folder == run.resolve()
    facts = store.read_json(run / "clusters" / "mixture.json")
    store.write_json(run / "clusters" / "mixture.json", facts | {"weights_sha256": "0" * 64})
    with pytest.raises(InputError, match="another model"):
        open_clusters(run)
    blobs = np.random.default_rng(0).random((200, 8, 8))
    with pytest.raises(InputError, match="other data or another split"):
        cluster(from_arrays(blobs), run=run)
    with pytest.raises(StoreError, match="exists"):
        cluster(digits, run=run, **(QUICK | {"settings": {}}))


def test_fewer_labels_than_classes_says_which_are_unknown(found: Clustering, digits: Dataset, tmp_path: Path) -> None:
    made = cluster(
        digits, run=found.folder / "model", labels=4, components=10, out=tmp_path / "few",
        **(QUICK | {"settings": {}}),
    )  # fmt: skip
    missing = made.results["labels"]["unknown_classes"]
    assert any("not calibrated" in note for note in made.results["notes"])  # one label of each of four classes
    assert len(missing) == 6
    assert any(", ".join(missing) in note for note in made.results["notes"])
    table = np.array(made.results["confusion"])
    assert table[:, [int(name) for name in missing]].sum() == 0
    assert table.sum() == len(digits.splits["test"])
    assert made.results["test"]["labelled_accuracy"] <= 0.45
    with pytest.raises(InputError, match="has no label"):
        sample_class(made.folder, missing[0], 1)


def test_without_labels_there_are_clusters_and_no_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = np.concatenate([rng.normal(-3, 1, (150, 5)), rng.normal(3, 1, (150, 5))])
    made = cluster(
        from_arrays(table), settings={"latent_dim": 2, "hidden": "16", "epochs": 5}, components=(1, 2, 3),
        out=tmp_path / "plain",
    )  # fmt: skip
    assert made.results["labels"] is None
    assert made.results["test"] is None
    page = (made.folder / "report.html").read_text()
    assert "Hungarian" not in page
    for stability, is_low in ((0.5, True), (0.95, False)):
        store.write_json(made.folder / "results.json", {**made.results, "stability": stability})
        page = build_cluster_report(made.folder, Spec).read_text()
        assert ("another seed gives other clusters" in page) == is_low
    assert sorted(p.stem for p in (made.folder / "figures").iterdir()) == ["components", "em", "pca"]
    with pytest.raises(InputError, match="no labels"):
        sample_class(made.folder, "a", 1)
    with pytest.raises(InputError, match="no labels to draw"):
        cluster(from_arrays(table), labels=10, out=tmp_path / "none")


def test_pictures_and_page(found: Clustering) -> None:
    expected = {"pca", "components", "class_samples", "confusion", "coverage", "budget", "em"}
    assert {p.stem for p in (found.folder / "figures").iterdir()} == expected
    page = Page((found.folder / "report.html").read_text())
    assert len(page.tags("img")) == len(expected) + 4
    answers = page.rows("Predictions on the test split")
    assert json.loads(answers[1][1]["data-value"] or "") == found.results["test"]["labelled_accuracy"]
    accuracy = found.results["methods"][found.results["predicts_by"]]["labelled_accuracy"]
    assert f"{100 * accuracy:.1f} %" in page.text
    assert {row[0]["data-value"] for row in page.rows("Mixtures: test")[1:]} == {"10", "30"}
    table = found.clusters.table
    assert table is not None
    named = [own["class"] for own in sorted(found.results["described"], key=lambda own: int(own["cluster"]))]
    codes = table.predict(np.eye(len(named)))
    assert named == [found.clusters.classes[code] if code >= 0 else "unknown" for code in codes]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("cluster digits --components 5000", ["5000", "1258", "--components"]),
        ("cluster digits --labels 1259", ["1,258", "1259"]),
        ("cluster digits --set latent_dims=2", ["did you mean 'latent_dim'"]),
        ("sample nowhere --class 7", ["nowhere", "no such folder"]),
        ("anomaly digits", ["--against", "--held-out"]),
        ("anomaly digits --held-out 12", ["unknown class '12'"]),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path: Path, arguments: str, said: list[str]) -> None:
    done = commands.vaelab(arguments.split(), tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert [part for part in said if part not in done.stderr] == [], done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"components": "none"}, "auto, a number of at least 1"),
        ({"components": "10,0"}, "'10,0'"),
        ({"labels": "0"}, "or validation, but got '0'"),
        ({"labels": "test"}, "or validation, but got 'test'"),
        ({"covariance": "ful"}, "did you mean 'full'"),
        ({"points": "codes"}, "known: auto, means, samples"),
        ({"reject": 1.5}, "`reject`"),
        ({"em_starts": 0}, "`em_starts`"),
        ({"manifold": "umpa"}, "did you mean 'umap'"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Options.create(**options)


def test_labels_outside_the_classes_are_refused(digits: Dataset, tmp_path: Path) -> None:
    for rows, said in (
        ([5_000], "row numbers from 0"),
        ([-1], "numbers of rows, from 0"),
        (digits.splits["test"][:3], "test"),
    ):
        with pytest.raises(InputError, match=said):
            cluster(digits, labels=rows, out=tmp_path / "no", **QUICK)
    assert list(tmp_path.iterdir()) == []


def test_umap_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, digits: Dataset, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match=r"pip install 'vaelab\[manifold\]'"):
        cluster(digits, manifold="umap", out=tmp_path / "no", **QUICK)
    assert list(tmp_path.iterdir()) == []


class Squares(Manifold):
    """A map that takes no minute to compile: the first coordinates, squared."""

    def fit(self, points: Any) -> Any:
        return self.place(points)

    def place(self, points: Any) -> Any:
        return np.asarray(points)[:, : self.dimensions] ** 2


def test_a_manifold_is_a_row_of_its_own(
    found: Clustering, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", object())
    monkeypatch.setattr("vaelab.latent.results.Manifold", Squares)
    made = cluster(
        digits, run=found.folder / "model", manifold="umap", components=10, labels=100, out=tmp_path / "umap",
        **(QUICK | {"settings": {}}),
    )  # fmt: skip
    assert set(made.results["methods"]) == {"mixture", "graph", "umap"}
    row = made.results["manifold"]
    assert row["test"]["nmi"] < made.results["test"]["nmi"]  # squares lose signs
    z = made.model.encode(digits.flat[digits.splits["test"]])[0][:, :10] ** 2
    assert row["dimensions"] == z.shape[1] == 6
    assert row["test"]["hungarian_accuracy"] > 0.15


def test_anomaly_of_a_held_out_class(digits: Dataset, tmp_path: Path) -> None:
    results = anomaly(
        digits, held_out="0", settings=SETTINGS | {"epochs": 3}, components=5, rows=40, out=tmp_path / "a"
    )
    (way,) = results["directions"]
    assert way["other"]["examples"] == 36
    assert way["scores"]["bound"]["known"] == 40
    assert set(way["scores"]) == {
        "bound", "pixel_entropy", "bound_minus_entropy", "typicality", "regret", "mixture",
    }  # fmt: skip
    for verdict in way["scores"].values():
        assert verdict["failed"] == (verdict["auroc"] < 0.5)
    seen = vaelab.load(tmp_path / "a" / "model1")
    assert seen.facts.name == "digits without 0"
    assert (tmp_path / "a" / "figures" / "anomaly_1.png").exists()
    again = anomaly(digits, held_out="0", run=tmp_path / "a" / "model1", components=5, rows=40, out=tmp_path / "b")
    assert again["directions"][0]["scores"] == way["scores"]  # the run says how to train, and a new model is trained
    with pytest.raises(InputError, match="leave out `settings`"):
        anomaly(digits, held_out="0", run=tmp_path / "a" / "model1", settings=SETTINGS, out=tmp_path / "c")
    with pytest.raises(InputError, match="`rows` must be at least 2"):
        anomaly(digits, held_out="0", rows=1, out=tmp_path / "c")


def test_anomaly_in_both_directions(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flat images have less entropy than digits: told apart one way and failing the other, with the reason."""
    monkeypatch.setattr("vaelab.latent.anomaly.REGRET_ROWS", 20)
    rng = np.random.default_rng(0)
    flat = np.clip(rng.normal(0.02, 0.01, (300, 1, 1)) + rng.normal(0, 0.002, (300, 8, 8)), 0, 1)
    flat[0, 0, :2] = 0, 1
    other = from_arrays(flat.astype(digits.x.dtype), name="flat")
    scaled = dataclasses.replace(digits, x=digits.x / digits.x.max())
    scaled = dataclasses.replace(scaled, x=scaled.x.astype(digits.x.dtype))
    results = anomaly(
        scaled, other, settings={"latent_dim": 2, "hidden": "16", "epochs": 4}, components=3, out=tmp_path / "pair",
    )  # fmt: skip
    ways = {way["name"]: way["scores"] for way in results["directions"]}
    own, back = ways.values()
    assert own["pixel_entropy"]["failed"]
    assert own["pixel_entropy"]["auroc"] == pytest.approx(1 - back["pixel_entropy"]["auroc"])
    assert "simpler" in own["bound"]["sentence"] if own["bound"]["failed"] else own["bound"]["auroc"] >= 0.5
    assert back["bound"]["auroc"] > 0.9
    test = len(digits.splits["test"]), len(other.splits["test"])
    assert (own["bound"]["known"], own["bound"]["other"]) == test  # all of them, but where it would cost
    assert (own["regret"]["known"], back["regret"]["other"]) == (20, 20)
    assert any("at most 20" in note for note in results["notes"])
    page = Page((tmp_path / "pair" / "report.html").read_text())
    for name, row in zip(own, page.rows("Both directions")[1:], strict=True):
        values = [own[name]["auroc"], back[name]["auroc"]]
        assert [json.loads(cell["data-value"] or "") for cell in row[1:]] == [*values, min(values)]
    assert own["pixel_entropy"]["sentence"] in page.text
    assert len(page.tags("img")) == 2


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_a_model_with_a_mixture_prior_brings_its_own(digits: Dataset, tmp_path: Path, covariance: str) -> None:
    """Weights, densities and components are those that the model was trained with; EM is not asked."""
    settings = SETTINGS | {"prior": "mixture", "components": 10, "covariance": covariance, "epochs": 9}
    own = cluster(digits, settings=settings, points="means", labels=100, budget=False, out=tmp_path / "own")
    fitted, mixture = own.model, own.clusters.mixture
    assert fitted.mixture is not None
    order = np.argsort(-fitted.mixture[0], kind="stable")
    np.testing.assert_allclose(mixture.weights_, fitted.mixture[0][order])
    x = digits.flat[digits.splits["test"]]
    z, _ = fitted.encode(x)
    np.testing.assert_allclose(mixture.predict_proba(z), fitted.components(x)[:, order], atol=1e-4)
    log_p = fitted.model.prior.log_prob(fitted.padded(z), fitted.parameters)[0].numpy()
    np.testing.assert_allclose(mixture.score_samples(z), log_p - 3 * np.log(2 * np.pi), rtol=1e-4, atol=1e-3)
    assert own.results["components"] == 10
    assert own.results["em"] == {}
    assert "own prior" in (own.folder / "report.html").read_text()
    fitted_by_em = cluster(
        digits, run=own.folder / "model", out=tmp_path / "em", **QUICK | {"components": "12", "settings": None}
    )
    assert fitted_by_em.results["components"] == 12
    assert len(fitted_by_em.results["em"]["12"]) > 0


def test_an_encoder_for_clusters_has_defaults_by_purpose_which_settings_override() -> None:
    small, large = (
        from_arrays(np.random.default_rng(0).integers(0, 256, size=(n, *shape)).astype(np.uint8), seed=0)
        for n, shape in ((200, (6,)), (8_000, (16, 16)))
    )
    ten, several = (Options.create(components=given) for given in (10, "10,30"))
    labelled = dataclasses.replace(large, labels=np.arange(8_000) % 2, classes=("a", "b"))
    assert encoder_settings(ten, {}, labelled) == {}
    assert encoder_settings(ten, {}, large) == {"latent_dim": 10}
    mixture = {"prior": "mixture"}
    assert encoder_settings(ten, mixture, small) == mixture | {"latent_dim": 3, "components": 10}
    own = {"latent_dim": 10, "hidden": "512-256", "epochs": 80}
    assert encoder_settings(several, mixture, large) == mixture | own
    given = mixture | {"layers": 1, "epochs": 3, "components": 4}
    assert encoder_settings(ten, given, large) == given | {"latent_dim": 10}
    on_map = dataclasses.replace(ten, manifold="umap")  # without umap-learn, which only fitting needs
    assert encoder_settings(on_map, {}, large) == {"latent_dim": 10, "hidden": "512-256", "beta": 0.01}
