"""Reports: what the page says; nothing from outside becomes markup; nothing is asked of the network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pages import (
    IMG,
    QUOTE,
    SCRIPT,
    comparison,
    comparison_report,
    hostile,
    page,
    png,
    run_report,
    save,
    study,
    study_report,
    untrained,
)
from vaelab.data import Dataset
from vaelab.errors import StoreError
from vaelab.report import build_drift_report, words
from vaelab.report import study as study_page
from vaelab.report.captions import captions, comparison_captions
from vaelab.report.pictures import load
from vaelab.report.tables import Cell, Row, Table
from vaelab.vae.evaluate import why_collapsed
from vaelab.vae.spec import Spec
from vaelab.vae.yardsticks import YARDSTICKS
from vaelab.wording import value_and_error


def test_study_report_says_what_the_numbers_say(tmp_path: Path) -> None:
    found = page(study_report(study(tmp_path)))
    assert "Trial 2 won: after retraining, it reaches 102.00 nats per example on the validation split" in found.text
    assert "102.6 ± 0.1 on the test split (means over 3 seeds; ±: standard error over seeds)" in found.text
    assert "16 latent dimensions, hidden layers of 256 and 128 units (silu)" in found.text
    assert "Of 4 trials, 2 ran to completion, 2 were pruned early" in found.text
    assert "The best trial of the search came out 0.63 nats worse after retraining" in found.text
    assert "The search took 6 min 52 s" in found.text
    assert "65 %" in found.text
    assert "examples 1,797" in found.text
    assert len(found.tags("img")) == 4
    assert len(found.tags("details")) == 2


@pytest.mark.parametrize("name", [IMG, SCRIPT, QUOTE, "{{ 7 * 7 }}", "\u2028<!--", "a\nb" * 9000])
def test_no_text_becomes_markup(name: str, tmp_path: Path) -> None:
    plain = page(study_report(study(tmp_path / "plain", "digits")))
    found = page(study_report(study(tmp_path / "hostile", name)))
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in plain.elements]
    attributes = {key for _, given in found.elements for key in given}
    assert attributes == {key for _, given in plain.elements for key in given}
    assert not {key for key in attributes if key.startswith("on")}
    assert " ".join(name.split())[:500] in found.text


@pytest.mark.parametrize("name", [IMG, QUOTE])
def test_hostile_file_names_become_text(name: str, tmp_path: Path) -> None:
    folder = study(tmp_path)
    png(folder / "best" / "figures" / f"{name}.png")
    found = page(study_report(folder))
    assert len(found.tags("img")) == 5
    assert any(name in str(image["alt"]) for image in found.tags("img"))
    assert not any(key.startswith("on") for _, given in found.elements for key in given)


def test_nothing_is_asked_of_the_network(tmp_path: Path) -> None:
    found = page(study_report(study(tmp_path, "http://example.org/x.png")))
    for _, attributes in found.elements:
        for key in ("src", "href", "srcset", "data", "action", "poster"):
            value = attributes.get(key) or "data:"
            assert value.startswith(("data:image/png;base64,", "data:", "#")), value
    assert not found.tags("link")
    assert not found.tags("iframe")
    policy = found.tags("meta")[1]["content"] or ""
    assert "default-src 'none'" in policy
    assert "@import" not in (tmp_path / "report.html").read_text()
    assert "url(" not in (tmp_path / "report.html").read_text()


def test_cells_hold_exact_values(tmp_path: Path) -> None:
    found = page(study_report(study(tmp_path, SCRIPT)))
    trials = json.loads((tmp_path / "results.json").read_text())["table"]
    cells = [cell.get("data-value") for cell in found.rows("All trials")[1]]
    assert cells[0] == "0"
    assert float(cells[2] or "") == trials[0]["value"]
    assert found.rows("All trials")[2][2].get("data-value") is None
    assert sum("aria-sort" in head for head in found.tags("th")) == 1


def test_search_data_survive_as_json(tmp_path: Path) -> None:
    found = page(study_report(study(tmp_path, SCRIPT)))
    data = json.loads(found.scripts[0])
    assert data["settings"] == ["latent_dim", SCRIPT]
    assert [trial["value"] for trial in data["trials"]] == [104.0, None, 102.0, None]
    assert data["trials"][0]["curve"] == [[3, 120.0]]
    assert data["trials"][2]["params"] == [18, 2]
    assert "<" not in found.scripts[0]
    assert len(found.tags("script")) == 2


def test_every_script_that_runs_is_allowed_by_its_digest(tmp_path: Path) -> None:
    found = page(study_report(study(tmp_path)))
    digest = base64.b64encode(hashlib.sha256(found.scripts[-1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in str(found.tags("meta")[1]["content"])


def test_a_page_stays_under_its_limit_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = study(tmp_path, trials=8)
    for i in range(0, 8, 2):
        png(folder / f"trials/{i:04d}/figures/losses.png", (900, 400), noisy=True)
    monkeypatch.setattr(study_page, "PAGE_BYTES", 500_000)
    path = study_report(folder)
    found = page(path)
    assert "pictures are reduced and" in found.text
    assert 0 < len(found.tags("details")) < 4
    assert path.stat().st_size < 500_000
    assert "Trial 6: 98.00 nats" in found.text


def test_thumbnails_are_smaller_but_keep_their_shape(tmp_path: Path) -> None:
    png(tmp_path / "a.png", (960, 400), noisy=True)
    picture = load(tmp_path / "a.png", thumbnail=True)
    assert picture is not None
    assert (picture.width, picture.height) == (480, 200)
    assert base64.b64decode(picture.uri.partition(",")[2]).startswith(b"\x89PNG")


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    folder = study(tmp_path)
    (folder / "best" / "figures" / "latent.png").write_bytes(b"<svg onload=alert(1)>")
    whole = (folder / "figures" / "history.png").read_bytes()
    (folder / "figures" / "history.png").write_bytes(whole[:60])
    found = page(study_report(folder))
    assert "latent.png of the best model could not be read" in found.text
    assert "history.png of the study could not be read" in found.text


def test_a_path_out_of_the_study_is_not_followed(tmp_path: Path) -> None:
    png(tmp_path / "secret" / "figures" / "losses.png", (111, 40))
    folder = study(tmp_path / "study")
    results = json.loads((folder / "results.json").read_text())
    results["table"][0]["folder"] = "../secret"
    results["table"][2]["folder"] = str(tmp_path / "secret")
    (folder / "results.json").write_text(json.dumps(results))
    found = page(study_report(folder))
    assert not [image for image in found.tags("img") if image["width"] == "111"]


def test_a_study_without_a_winner(tmp_path: Path) -> None:
    folder = study(tmp_path, best=None, table=[], optimism=None, baseline={}, seconds={})
    found = page(study_report(folder))
    assert "There is no winner" in found.text


@pytest.mark.parametrize("content", ["", "{", "[1]", '"text"'])
def test_damaged_results_are_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(StoreError, match=r"results\.json"):
        study_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_missing_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"results\.json"):
        study_report(tmp_path)


def test_run_report(tmp_path: Path) -> None:
    terms = {"neg_elbo": 105.5, "rate": 20.0, "distortion": 85.5}
    (tmp_path / "spec.json").write_text(Spec(latent_dim=3).model_dump_json())
    (tmp_path / "metrics.json").write_text(json.dumps({"validation": terms, "data": {"name": IMG}}))
    records = [{"epoch": e, "lr": 0.001, "train": terms, "validation": terms} for e in (1, 2)]
    (tmp_path / "history.jsonl").write_text("\n".join(map(json.dumps, records)))
    png(tmp_path / "figures" / "losses.png")
    found = page(run_report(tmp_path))
    assert "105.50 nats per example on the validation split" in found.text
    assert "3 latent dimensions" in found.text
    assert "2 epochs" in found.text
    assert IMG in found.text
    assert len(found.tags("img")) == 1


def test_run_report_of_a_bare_folder(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{}")
    assert "A trained model" in page(run_report(tmp_path)).text


@pytest.mark.parametrize(
    "damaged",
    [
        b"{]\n{}\n",
        b'{"epoch": 1}\n\xff{}',
        b'{"epoch": "1"}',
        b'{"epoch": 1, "validation": 3}',
        b"[1]",
        b'{"epoch": 1, "tr',
    ],
)
def test_a_damaged_history_is_named(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "spec.json").write_text("{}")
    (tmp_path / "history.jsonl").write_bytes(damaged)
    with pytest.raises(StoreError, match=r"history\.jsonl"):
        run_report(tmp_path)


def test_every_figure_of_a_study_says_what_it_is(tmp_path: Path) -> None:
    seeds = [
        {"seed": 2919813369553411398 + i, "validation": {"neg_elbo": value}, "test": {"neg_elbo": value + 1}}
        for i, value in enumerate((103.0, 102.0))
    ]
    best = {
        "number": 0, "spec": Spec(seed=seeds[1]["seed"]).model_dump(mode="json"), "seeds": seeds,
        "validation": seeds[1]["validation"], "test": seeds[1]["test"], "validation_mean": 102.5, "validation_se": 0.5,
        "test_mean": 103.5, "test_se": 0.5,
    }  # fmt: skip
    finalists = [{"number": 0, "search": 101.0, "mean": 102.5, "se": 0.5, "parameters": 10}]
    found = page(study_report(study(tmp_path, best=best, finalists=finalists)))
    text = " ".join(found.text.split())
    for name, value, unit in (
        ("validation, mean", "102.5", "± 0.5 nats per example, 2 seeds"),
        ("test, mean", "103.5", "± 0.5 nats per example, 2 seeds"),
        ("validation, best seed", "102.00", "nats per example, 64 draws of z"),
        ("test, best seed", "103.00", "nats per example, 64 draws of z"),
    ):
        assert re.search(rf"{name}\W+{value}\W+{re.escape(unit)}", text), name
    assert "the search uses 8 draws of z per example and the finals use 64" in text
    assert "29198133695534113" not in text
    assert "derived; in spec.json" in text
    seeds_told = text.partition("The winner over its seeds")[2].partition("All trials")[0]
    assert re.findall(r"\b([12])\W*(kept)?\W*10[23]\.00", seeds_told) == [("1", ""), ("2", "kept")]


def test_the_figure_of_a_winner_has_the_larger_of_its_errors_over_rows_and_over_seeds(tmp_path: Path) -> None:
    def of(value: float, error: float) -> dict[str, Any]:
        return {split: {"neg_elbo": value, "se": error} for split in ("validation", "test")}

    seeds = [{"seed": i, **of(42.702 + i * 0.0008, 0.375)} for i in (0, 1)]
    best = {
        "number": 0, "spec": Spec().model_dump(mode="json"), "seeds": seeds, **of(42.702, 0.375),
        **{f"{split}_mean": 42.7024 for split in ("validation", "test")}, "validation_se": 2.0, "test_se": 0.0004,
    }  # fmt: skip
    structured = [{"label": "factor analysis", "validation": 43.0, "validation_se": 0.5, "gain": 1.0, "gain_se": 0.1}]
    baseline = {"no_latents": 44.0, "floor": None, "share": None, "structured": structured, "left_out": []}
    found = page(study_report(study(tmp_path, best=best, baseline=baseline)))
    assert "it reaches 43 ± 2 nats per example on the validation split, and 42.7 ± 0.4 on the test split" in found.text
    assert "(means over 2 seeds; standard errors over rows 0.4 and 0.4, over seeds 2 and 0.0004; ± is the larger)" in (
        found.text
    )
    assert "± 2 nats per example, 2 seeds; ± over seeds, over rows 0.4" in found.text
    assert "± 0.4 nats per example, 2 seeds; ± over rows, over seeds 0.0004" in found.text
    assert "± 0.4 nats per example, 64 draws of z; ± over rows" in found.text
    (winner,) = (cells for cells in found.rows("Beside simpler models") if cells[1].get("data-se") == "0.375")
    assert winner[3].get("data-se") == "0.375"  # as of the simpler models, over rows


@pytest.mark.parametrize("data", [{"shape": [13]}, {"shape": [13], "classes": {"a": 3, "b": 4}}])
def test_captions_of_a_table_have_no_pixels(data: dict[str, Any]) -> None:
    for name, text in (captions(data) | comparison_captions(data)).items():
        assert not re.search(r"pixel|image|blur|intensity|too bright", text, re.IGNORECASE), name
        assert ("class" in text.lower()) <= ("classes" in data), name
    assert "pixels" in captions({"shape": [8, 8]})["data"]


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.01, "; rows are 1.5 ± 0.8 nats less likely."),
        (0.1, "; rows are not shown to be less or more likely (1.5 ± 0.8 nats less likely on average, p = 0.1)."),
    ],
)
def test_a_change_of_the_bound_is_told_by_its_test(p: float, said: str, tmp_path: Path) -> None:
    results: dict[str, Any] = {
        "columns": [], "score": {"change": 1.5, "se": 0.75, "p_value": p}, "rows": 9, "reference_rows": 9,
        "latents": {"auc": 0.5, "se": 0.05, "p_value": 0.5},
    }  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps(results))
    found = page(build_drift_report(tmp_path, Spec))
    assert said in found.text
    assert ("a change of about 2.1 nats would be found 4 times in 5" in found.text) == (p > 0.05)


def test_a_collapse_says_why_in_the_page(tmp_path: Path) -> None:
    validation = {"neg_elbo": 1.0, "active_units": 5, "verdict": "collapsed", "reason": why_collapsed(3.0, 0.1, 0.2)}
    (tmp_path / "spec.json").write_text("{}")
    (tmp_path / "metrics.json").write_text(json.dumps({"validation": validation}))
    text = page(run_report(tmp_path)).text
    assert "0.1 nats below that of the model without latents, within 2 standard errors (2 x 0.2)" in text


def test_report_leaves_no_temporary_file(tmp_path: Path) -> None:
    folder = study(tmp_path)
    study_report(folder)
    assert study_report(folder) == folder / "report.html"
    names = {"results.json", "config.toml", "figures", "best", "trials", "report.html"}
    assert {path.name for path in folder.iterdir()} == names


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        ({"layers": 3, "width": 256, "taper": 0.5}, [256, 128, 64]),
        ({"hidden": [64, 32], "layers": 3, "width": 256, "taper": 0.5}, [64, 32]),
        ({"hidden": []}, []),
    ],
)
def test_hidden_sizes_agree_with_the_spec(spec: dict[str, Any], sizes: list[int]) -> None:
    assert words.hidden_sizes(spec) == sizes == list(Spec(**spec).hidden_sizes)


def numbers_of(results: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Every mean with its standard error in a comparison's models, as JSON text."""
    found = []
    for model in results["models"]:
        summaries = [model["seconds"], model["gap"]]
        summaries += [s for split in ("train", "validation", "test") for s in model[split].values()]
        found += [(json.dumps(s["mean"]), json.dumps(s["se"])) for s in summaries]
        found += [(json.dumps(model["parameters"]), None), (json.dumps(model["epochs"]), None)]
    return found


def test_every_number_of_a_comparison_is_in_its_page(tmp_path: Path, digits: Dataset) -> None:
    folder = comparison(tmp_path, {"wide": untrained(digits), "narrow": untrained(digits, 1, hidden=(4,))})
    results = json.loads((folder / "results.json").read_text())
    found = page(comparison_report(folder))
    cells = [given for _, given in found.elements if "data-value" in given]
    shown = {(given["data-value"], given.get("data-se")) for given in cells}
    assert set(numbers_of(results)) <= shown
    pairs = [
        json.dumps(pair[key]) for pair in results["comparisons"] for key in ("difference", "low", "high", "p", "p_holm")
    ]
    pairs += [json.dumps(value) for pair in results["comparisons"] for value in pair["paired"].values()]
    assert set(pairs) <= {value for value, _ in shown}
    known = {value for value, _ in numbers_of(results)} | set(pairs)
    assert {value for value, _ in shown} == known


def test_rounded_text_agrees_with_the_exact_value(tmp_path: Path, digits: Dataset) -> None:
    text = comparison_report(comparison(tmp_path, {"wide": untrained(digits)})).read_text()
    cells = re.findall(
        r'data-value="([^"]+)"(?: data-se="([^"]+)")?>([^<]*)(?:<span class="se">± ([^<]+)</span>)?', text
    )
    assert len(cells) > 20
    for value, se, said, error in cells:
        assert value_and_error(json.loads(value), json.loads(se) if se else None) == (said.strip(), error)


def test_the_best_on_validation_is_marked_and_only_within_one_likelihood(tmp_path: Path, digits: Dataset) -> None:
    models = {"wide": untrained(digits), "narrow": untrained(digits, 1)}
    found = page(comparison_report(comparison(tmp_path / "one", models)))
    assert sum(given.get("class") == "winner" for given in found.tags("tr")) >= 1
    assert "best validation" in found.text
    models["narrow"] = untrained(digits, 1, likelihood="gaussian")
    assert "best validation" not in page(comparison_report(comparison(tmp_path / "two", models))).text


@pytest.mark.parametrize("name", [IMG, SCRIPT, QUOTE, "{{ 7 * 7 }}"])
def test_no_text_of_a_comparison_becomes_markup(name: str, tmp_path: Path, digits: Dataset) -> None:
    folders = [
        comparison(tmp_path / kind, {first: untrained(data), "narrow": untrained(data, 1)})
        for kind, first, data in (("plain", "wide", digits), ("hostile", name, hostile(digits)))
    ]
    plain = page(comparison_report(folders[0], digits))
    found = page(comparison_report(folders[1], hostile(digits)))
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in plain.elements]
    assert not any(key.startswith("on") for _, given in found.elements for key in given)
    assert name in found.text


def test_a_comparison_leaves_out_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"models": [{"name": "one"}], "comparisons": []}')
    found = page(comparison_report(tmp_path))
    assert "There is no recommendation." in found.text
    assert not found.tags("img")


def test_numbered_pictures_follow_their_kind(tmp_path: Path, digits: Dataset) -> None:
    folder = comparison(tmp_path, {"wide": untrained(digits)})
    for name in ("kl", "latent_10", "latent_2", "architectures", "data"):
        png(folder / "figures" / f"{name}.png")
    found = page(comparison_report(folder))
    names = [str(image["alt"]).partition(" of ")[0] for image in found.tags("img")]
    assert names == ["architectures", "losses", "latent 0", "latent 2", "latent 10", "kl", "data"]


def test_data_bring_an_explorer(tmp_path: Path, digits: Dataset) -> None:
    folder = save(untrained(digits), tmp_path / "run")
    assert "Explore the latent space" not in page(run_report(folder)).text
    assert "Explore the latent space" in page(run_report(folder, digits)).text


def test_a_model_that_cannot_be_read_is_named(tmp_path: Path, digits: Dataset) -> None:
    folder = save(untrained(digits), tmp_path / "run")
    (folder / "model.safetensors").write_bytes(b"broken")
    assert "is not in the explorer" in page(run_report(folder, digits)).text


def test_figures_of_other_units_have_their_own_axis(tmp_path: Path, digits: Dataset) -> None:
    row = {"a": "one", "b": "two", "difference": -0.25, "low": -0.5, "high": -0.125, "p": 0.01, "p_holm": 0.02}
    rows = [row | {"metric": "mse", "shown": True}, row | {"metric": "knn", "shown": False}]
    rows.append(row | {"metric": "knn", "low": None, "high": None, "p": None, "p_holm": None, "shown": False})
    models = {"one": untrained(digits), "two": untrained(digits, 1, likelihood="gaussian")}
    found = page(comparison_report(comparison(tmp_path, models, comparisons=rows)))
    assert [figure.get("class") for figure in found.tags("figure")][:2] == ["forest", "forest"]
    assert "one seed: unknown" in found.text
    assert "on validation in MSE" in found.text
    lines = [float(str(line["x1"])) for line in found.tags("line") if line["class"] == "at"]
    places = [(value - -0.53) / 0.56 * 100 for value in (-0.25, -0.25)]
    assert lines == pytest.approx(places, abs=1e-2)


@pytest.mark.parametrize(
    ("values", "way"), [((1, None, 2), "ascending"), ((3, 2, 1), "descending"), ((44.3, 44.1, 45.6), "")]
)
def test_a_column_says_that_it_is_sorted_only_where_it_is(values: tuple[float | None, ...], way: str) -> None:
    assert Table("t", ["a"], [Row([Cell.of(value)]) for value in values], 0).order == way


def test_settings_without_effect_have_no_value_in_the_table() -> None:
    row = {"number": 0, "params": {"layers": 1, "units3": 64}, "idle": ["units3"]}
    cells = study_page.trials([row], ["layers", "units3"], None, {}).rows[0].cells
    assert [cell.text for cell in cells[-2:]] == ["1", "–"]


def test_a_page_shows_simpler_models_and_says_first_if_one_is_better(tmp_path: Path) -> None:
    own = {"label": "factor analysis with 2 factors", "validation": 2.125, "validation_se": 0.5, "gain": 2.5}
    structured = [own | {"gain_se": 0.25, "test": None}]
    baseline = {"no_latents": 4.75, "floor": None, "share": None, "structured": structured, "left_out": [SCRIPT]}
    found = page(study_report(study(tmp_path, baseline=baseline, beaten="Factor analysis is better.")))
    assert found.text.index("Factor analysis is better.") < found.text.index("Trial 2 won")
    rows = found.rows("Beside simpler models")
    assert [cells[1].get("data-value") for cells in rows[2:]] == ["2.125", "4.75"]
    assert rows[2][2].get("data-se") == "0.25"
    assert SCRIPT in found.text
    assert not page(study_report(study(tmp_path / "old"))).rows("Beside simpler models")


def test_the_section_on_missing_values_names_the_best_way(tmp_path: Path, digits: Dataset) -> None:
    folder = save(untrained(digits), tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text()) if (folder / "metrics.json").is_file() else {}
    errors = {
        "model": {"rmse": 0.8, "accuracy": 0.93},
        "column mean or mode": {"rmse": 1.2, "accuracy": 0.5},
        SCRIPT: {"rmse": 0.5, "accuracy": 0.93},
    }
    metrics["imputation"] = {"cells": 1234, "share": 0.1, "errors": errors, "left_out": ["iterative is left out."]}
    metrics["data"] = {"notes": [f"use `--group '{IMG}'` and ` alone"], "examples": 5000, "shape": [7]}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    path = run_report(folder)
    page_text, found = path.read_text(), page(path)
    assert "1,234 known values" in found.text
    assert f"Numbers are filled best by {SCRIPT}; categories are filled best by this model and {SCRIPT}." in found.text
    assert page_text.count("<strong>") == 3
    close, far = {"mean": 0.1, "se": 0.06}, {"mean": 0.1, "se": 0.04}
    for behind, said in ((close, "categories: no difference shown"), (far, f"best by this model and {SCRIPT}.")):
        metrics["imputation"]["behind"] = {"accuracy": {"column mean or mode": behind}}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        assert said in page(run_report(folder)).text
    assert "this model 0.8 93 %" in found.text
    metrics["imputation"]["behind"] = {"rmse": {"model": close, "column mean or mode": far}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    path = run_report(folder)
    found = page(path)
    assert f"Numbers have the fewest errors by {SCRIPT}, from which this model cannot be told; " in found.text
    assert found.text.count("cannot be told from it") == 1  # what bold means
    assert path.read_text().count("<strong>") == 4
    assert "iterative is left out." in found.text
    assert "examples 5,000" in found.text
    assert "columns 7" in found.text
    assert f"use --group '{IMG}' and ` alone" in found.text
    assert {"code"} <= {tag for tag, _ in found.elements}
    assert len(found.tags("script")) == 1


def test_without_a_winner_the_reason_is_said_once_and_settings_are_code(tmp_path: Path) -> None:
    path = study_report(study(tmp_path / "study", best=None, notes=["not trained enough: give more `epochs`.", "two."]))
    found = page(path)
    assert found.text.count("There is no winner: not trained enough: give more epochs .") == 1
    assert found.text.count("not trained enough") == 1
    assert "two." in found.text
    assert "The search took 6 min 52 s." in found.text  # and nothing was trained after it


def test_the_page_has_the_best_of_very_many_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_page, "MOST_ROWS", 3)
    values = [4.0, None, 1.0, 3.0, 2.0, 5.0]
    table = [{"number": number, "value": value} for number, value in enumerate(values)]
    shown = study_page.foremost(table, next(iter(YARDSTICKS.values())), winner=5)
    assert [row["number"] for row in shown] == [2, 3, 4, 5]
    assert study_page.foremost(table[:3], next(iter(YARDSTICKS.values()))) == table[:3]
