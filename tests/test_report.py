"""Reports: what the page says; nothing from outside becomes markup; nothing is asked of the network."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vaelab import report
from vaelab.errors import StoreError
from vaelab.report import build_run_report, build_study_report, words
from vaelab.report.pictures import load
from vaelab.spec import Spec

IMG, SCRIPT = "<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>"
QUOTE = "\" onload='alert(1)' x=\""
VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; raises where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def png(path: Path, size: tuple[int, int] = (90, 40), *, noisy: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), 120, np.uint8)
    if noisy:
        pixels = np.random.default_rng(0).integers(0, 255, pixels.shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def study(folder: Path, name: str = "digits", trials: int = 4, **changes: Any) -> Path:
    spec = Spec().model_dump()
    table = []
    for i in range(trials):
        done = i % 2 == 0
        row = {"number": i, "state": "COMPLETE" if done else "PRUNED", "params": {"latent_dim": 16, name: i}}
        row |= {"spec": spec, "rungs": {"3": 120.0}, "value": 104.0 - i if done else None, "verdict": "ok"}
        row |= {"seconds": 3.0, "epochs": 9, "rate": 20.0, "distortion": None, "folder": None}
        if done:
            row["folder"] = f"trials/{i:04d}"
            png(folder / row["folder"] / "figures" / "losses.png")
        table.append(row)
    best = {"number": 2, "spec": spec, "validation": {"neg_elbo": 102.0, "rate": 20.0, "distortion": 82.0}}
    best |= {"test": {"neg_elbo": 102.5}, "test_mean": 102.61, "test_se": 0.12}
    best["seeds"] = [{"seed": s, "validation": {"neg_elbo": 102.0}, "test": {"neg_elbo": 102.5}} for s in range(3)]
    results = {
        "study": str(folder),
        "name": name,
        "data": {"name": name, "examples": 1797, "shape": [8, 8], "classes": [name, "one"]},
        "yardstick": "neg_elbo",
        "likelihood": "bernoulli",
        "trials": {"total": trials, "complete": (trials + 1) // 2, "pruned": trials // 2, "failed": 0},
        "best": best,
        "finalists": [],
        "optimism": 0.63,
        "baseline": {"no_latents": 205.8, "floor": 45.5, "share": 0.6475},
        "seconds": {"search": 412.0, "final": 61.0},
        "importance": {"latent_dim": 1.0},
        "table": table,
        "notes": [name],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results | changes))
    (folder / "config.toml").write_text(f"name = '''{name}'''\n")
    png(folder / "figures" / "history.png")
    png(folder / "best" / "figures" / "latent.png")
    return folder


def page(path: Path) -> Page:
    return Page(path.read_text())


def test_study_report_says_what_the_numbers_say(tmp_path: Path) -> None:
    found = page(build_study_report(study(tmp_path)))
    assert "Trial 2 won: it needs 102.00 nats per example on the validation split" in found.text
    assert "102.61 ± 0.12 on the test split (mean and standard error over 3 seeds)" in found.text
    assert "16 latent dimensions, hidden layers of 256 and 128 units (silu)" in found.text
    assert "Of 4 trials, 2 ran to the end, 2 were pruned early" in found.text
    assert "0.63 nats worse than the search had promised" in found.text
    assert "The search took 6 min 52 s" in found.text
    assert "65 %" in found.text
    assert "examples 1797" in found.text
    assert len(found.tags("img")) == 4
    assert len(found.tags("details")) == 2


@pytest.mark.parametrize("name", [IMG, SCRIPT, QUOTE, "{{ 7 * 7 }}", "\u2028<!--", "a\nb" * 9000])
def test_no_text_becomes_markup(name: str, tmp_path: Path) -> None:
    plain = page(build_study_report(study(tmp_path / "plain", "digits")))
    found = page(build_study_report(study(tmp_path / "hostile", name)))
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in plain.elements]
    attributes = {key for _, given in found.elements for key in given}
    assert attributes == {key for _, given in plain.elements for key in given}
    assert not {key for key in attributes if key.startswith("on")}
    assert " ".join(name.split())[:500] in found.text


@pytest.mark.parametrize("name", [IMG, QUOTE])
def test_hostile_file_names_become_text(name: str, tmp_path: Path) -> None:
    folder = study(tmp_path)
    png(folder / "best" / "figures" / f"{name}.png")
    found = page(build_study_report(folder))
    assert len(found.tags("img")) == 5
    assert any(name in str(image["alt"]) for image in found.tags("img"))
    assert not any(key.startswith("on") for _, given in found.elements for key in given)


def test_nothing_is_asked_of_the_network(tmp_path: Path) -> None:
    found = page(build_study_report(study(tmp_path, "http://example.org/x.png")))
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


def test_sort_keys_survive_as_json(tmp_path: Path) -> None:
    found = page(build_study_report(study(tmp_path, SCRIPT)))
    keys = json.loads(found.scripts[0])
    assert keys[0][:3] == [0.0, "COMPLETE", 104.0]
    assert keys[1][2] is None
    assert "<" not in found.scripts[0]
    assert len(found.tags("script")) == 2
    assert sum("aria-sort" in head for head in found.tags("th")) == 1


def test_every_script_that_runs_is_allowed_by_its_digest(tmp_path: Path) -> None:
    import hashlib

    found = page(build_study_report(study(tmp_path)))
    digest = base64.b64encode(hashlib.sha256(found.scripts[-1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in str(found.tags("meta")[1]["content"])


def test_a_page_stays_under_its_limit_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = study(tmp_path, trials=8)
    for i in range(0, 8, 2):
        png(folder / f"trials/{i:04d}/figures/losses.png", (900, 400), noisy=True)
    monkeypatch.setattr(report, "PAGE_BYTES", 300_000)
    path = build_study_report(folder)
    found = page(path)
    assert "pictures are reduced and" in found.text
    assert 0 < len(found.tags("details")) < 4
    assert path.stat().st_size < 360_000
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
    found = page(build_study_report(folder))
    assert "latent.png of the best model could not be read" in found.text
    assert "history.png of the study could not be read" in found.text


def test_a_path_out_of_the_study_is_not_followed(tmp_path: Path) -> None:
    png(tmp_path / "secret" / "figures" / "losses.png", (111, 40))
    folder = study(tmp_path / "study")
    results = json.loads((folder / "results.json").read_text())
    results["table"][0]["folder"] = "../secret"
    results["table"][2]["folder"] = str(tmp_path / "secret")
    (folder / "results.json").write_text(json.dumps(results))
    found = page(build_study_report(folder))
    assert not [image for image in found.tags("img") if image["width"] == "111"]


def test_a_study_without_a_winner(tmp_path: Path) -> None:
    folder = study(tmp_path, best=None, table=[], optimism=None, baseline={}, seconds={})
    found = page(build_study_report(folder))
    assert "There is no winner" in found.text


@pytest.mark.parametrize("content", ["", "{", "[1]", '"text"'])
def test_damaged_results_are_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(StoreError, match=r"results\.json"):
        build_study_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_missing_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"results\.json"):
        build_study_report(tmp_path)


def test_run_report(tmp_path: Path) -> None:
    terms = {"neg_elbo": 105.5, "rate": 20.0, "distortion": 85.5}
    (tmp_path / "spec.json").write_text(Spec(latent_dim=3).model_dump_json())
    (tmp_path / "metrics.json").write_text(json.dumps({"validation": terms, "data": {"name": IMG}}))
    records = [{"epoch": e, "lr": 0.001, "train": terms, "validation": terms} for e in (1, 2)]
    (tmp_path / "history.jsonl").write_text("\n".join(map(json.dumps, records)) + '\n{"epoch": 3, "tr')
    png(tmp_path / "figures" / "losses.png")
    found = page(build_run_report(tmp_path))
    assert "105.50 nats per example on the validation split" in found.text
    assert "3 latent dimensions" in found.text
    assert "2 epochs" in found.text
    assert IMG in found.text
    assert len(found.tags("img")) == 1


def test_run_report_of_a_bare_folder(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{}")
    assert "A trained model" in page(build_run_report(tmp_path)).text


def test_a_damaged_history_is_named(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{}")
    (tmp_path / "history.jsonl").write_text("{]\n{}\n")
    with pytest.raises(StoreError, match=r"history\.jsonl.*line 1"):
        build_run_report(tmp_path)


def test_report_leaves_no_temporary_file(tmp_path: Path) -> None:
    folder = study(tmp_path)
    build_study_report(folder)
    assert build_study_report(folder) == folder / "report.html"
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
