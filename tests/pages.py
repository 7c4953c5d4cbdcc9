"""Folders that the report can be built from, and a reader for its pages."""

from __future__ import annotations

import dataclasses
import itertools
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vaelab.data import Column, Dataset, from_arrays
from vaelab.data.splits import split_rows
from vaelab.engine.rows import grid_of
from vaelab.report import build_cluster_report, build_comparison_report, build_run_report, build_study_report
from vaelab.report.explorer import Explore, no_explorer
from vaelab.report.inverse import build_inverse_report
from vaelab.vae.explorer import explorer_of
from vaelab.vae.fitted import DataFacts, Fitted
from vaelab.vae.likelihoods.likelihood import likelihood_for, likelihood_type
from vaelab.vae.model import Model
from vaelab.vae.spec import Spec
from vaelab.vae.yardsticks.neg_elbo import NEG_ELBO

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

    def rows(self, label: str) -> list[list[dict[str, str | None]]]:
        """Attributes of the cells of the table with that label, row by row."""
        found: list[list[dict[str, str | None]]] = []
        inside = False
        for tag, given in self.elements:
            if tag == "div" and given.get("role") == "region":
                inside = given.get("aria-label") == label
            elif inside and tag == "tr":
                found.append([])
            elif inside and tag in ("td", "th"):
                found[-1].append(given)
        return found

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
        row = {"number": i, "state": "COMPLETE" if done else "PRUNED", "params": {"latent_dim": 16 + i, name: i}}
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
        "yardstick": NEG_ELBO.as_dict(),
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


def _explore(data: Dataset | None) -> Explore:
    return no_explorer if data is None else explorer_of(data)


def run_report(folder: Path, data: Dataset | None = None) -> Path:
    """The page of a run, with an explorer where its data are given."""
    return build_run_report(folder, Spec, _explore(data))


def study_report(folder: Path, data: Dataset | None = None) -> Path:
    """The page of a study."""
    return build_study_report(folder, Spec, _explore(data))


def comparison_report(folder: Path, data: Dataset | None = None) -> Path:
    """The page of a comparison."""
    return build_comparison_report(folder, Spec, _explore(data))


def table(n: int = 300) -> Dataset:
    """A labelled table of five columns with different means and scales, one of them constant, one of hostile name."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 5)) * [1, 10, 100, 0, 0.1] + [0, 5, 1000, 7, -1]
    labels = rng.integers(0, 3, n)
    columns = tuple(Column(name) for name in ("a", "b", SCRIPT, "constant", "e"))
    return Dataset("table", x, split_rows(n, labels, 0), labels, ("x", "y", "z"), columns)


def typed_table(n: int = 300) -> Dataset:
    """A table with a column of every kind, values missing in some, levels of hostile names, and names of the rows."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal(n)
    levels = np.array(["small", IMG, "large"], dtype=object)
    columns: dict[str, Any] = {
        "height": np.where(rng.random(n) < 0.1, np.nan, 170 + 8 * z),
        SCRIPT: np.exp(2 * z + rng.standard_normal(n)),
        "visits": rng.poisson(np.exp(1 + 0.5 * z)).astype(float),
        "cells": np.where(rng.random(n) < 0.05, np.nan, rng.poisson(np.exp(5 + z))),
        "sex": np.array(["f", "m"], dtype=object)[(z + rng.standard_normal(n) > 0).astype(int)],
        "size": levels[np.digitize(z + 0.5 * rng.standard_normal(n), [-1, 1])],
        "grade": levels[np.digitize(z, [-0.5, 1])],
        "colour": np.where(rng.random(n) < 0.1, None, np.array(["red", "blue"], dtype=object)[rng.integers(0, 2, n)]),
        "day": np.datetime64("2020-01-01") + rng.integers(0, 900, n).astype("timedelta64[D]"),
    }
    types = {SCRIPT: "positive", "visits": "count", "cells": "count", "grade": "ordinal", "size": "categorical"}
    data = from_arrays(columns, name="typed", types=types)
    return dataclasses.replace(data, ids=np.array([f"R{i:03d}" for i in range(n)]), id_name="sample")


def untrained(data: Dataset, seed: int = 0, **settings: Any) -> Fitted:
    """A model with random weights, large enough that its latents spread and its decoder bends."""
    spec = Spec(**{"latent_dim": 2, "hidden": (16,), "likelihood": "bernoulli", "device": "cpu"} | settings)
    scaling = likelihood_type(spec.likelihood).scaling(data, spec)
    likelihood = likelihood_for(spec, data.is_image, scaling)
    features = int(np.prod(data.shape)) if scaling.kept is None else len(scaling.kept)
    grid = grid_of(data.shape, scaling)
    model = Model.for_spec(spec, features, likelihood, grid=grid, typed=scaling.typed)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.from_numpy(scaling.to_model(data.rows("train")))
    weights = model.unpad(model.initial(spec, rows, generator), spec)
    for name, weight in weights.items():
        size = 0.3 * (0.3 if name.startswith("encoder") else 1) * (0.3 if ".maps." in name else 1)
        weight += size * torch.randn(weight.shape, generator=generator)
    return Fitted(spec, DataFacts.of(data), scaling, model.pad(weights, spec)[None])


def save(fitted: Fitted, folder: Path, *, test: bool = True) -> Path:
    terms = {"neg_elbo": 23.8123456789, "rate": 3.3, "distortion": 20.5123456789, "active_units": 2}
    history = [{"epoch": e, "lr": 0.001, "train": terms, "validation": terms} for e in (1, 2)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    fitted.save(folder, history, {"validation": terms} | ({"test": terms} if test else {}))
    return folder


def half(fitted: Fitted) -> Fitted:
    """The same model with weights rounded to 16 bits, in float64."""
    weights = fitted.model.unpad(fitted.row[0], fitted.spec)
    row = fitted.model.pad({name: weight.half().double() for name, weight in weights.items()}, fitted.spec)
    return Fitted(fitted.spec, fitted.facts, fitted.scaling, row[None])


def hostile(data: Dataset) -> Dataset:
    """The same data with two classes whose names are attacks."""
    return dataclasses.replace(data, classes=(IMG, SCRIPT, *data.classes[2:]))


def comparison(folder: Path, models: dict[str, Fitted], **changes: Any) -> Path:
    """What `vaelab compare` leaves, with figures made up for each model."""
    rng = np.random.default_rng(0)

    def summary(level: float) -> dict[str, float]:
        return {"mean": level + rng.random(), "se": 0.01 + 0.1 * rng.random()}

    entries = []
    for i, (name, fitted) in enumerate(models.items()):
        save(fitted, folder / "models" / f"{i}" / "seed0")
        entry: dict[str, Any] = {"name": name, "folder": f"models/{i}", "runs": [{"folder": f"models/{i}/seed0"}]}
        entry |= {"spec": fitted.spec.model_dump()}
        entry |= {"parameters": fitted.parameter_count, "epochs": 30, "seconds": summary(3)}
        for split in ("train", "validation", "test"):
            figures = ("neg_elbo", "rate", "distortion", "bound", "active_units", "mse", "averaged_kl_loss", "probe")
            entry[split] = {figure: summary(20) for figure in figures}
        entries.append(entry | {"gap": summary(0)})
    names = list(models)
    pairs = [
        {"a": a, "b": b, "difference": -1.25 - i, "low": -1.5 - i, "high": 0.25, "p": 0.0123456, "p_holm": 0.0246912}
        | {
            "shown": i == 0,
            "sentence": f"{a} and {b}: no difference shown.",
            "paired": {"difference": -1.125, "p": 0.5125, "examples": 180},
        }
        for i, (a, b) in enumerate(itertools.pairwise(names))
    ]
    results = {
        "comparison": str(folder),
        "name": names[0],
        "data": {"name": names[0], "examples": 9},
        "models": entries,
    }
    results |= {
        "comparisons": pairs,
        "recommendation": f"Take {names[0]}.",
        "baseline": {"no_latents": 27.0},
        "notes": [],
    }
    (folder / "results.json").write_text(json.dumps(results | changes))
    png(folder / "figures" / "losses.png")
    png(folder / "figures" / "latent_0.png")
    return folder


def clusters_report(folder: Path) -> Path:
    """The page of a clustering with labels, with made-up metrics."""
    test = {"labelled_accuracy": 0.62, "answered": 1.0, "log_loss": 1.2, "brier": 0.5, "ece": 0.2, "nmi": 0.56}
    fits = {"bic": 30354.3, "icl": 31757.9, "log_likelihood": -10.8, "iterations": 35, "converged": True}
    mixtures = [{"components": k, "covariance": "full", "stability": 0.4, **fits, "test": test} for k in (3, 10)]
    labelled = {"labels": {"number": 100}, "methods": {"mixture": test, "graph": test}, "test": test}
    results = {"components": 10, "mixtures": mixtures, "stability": 0.4, **labelled, "spec": Spec().model_dump()}
    png(folder / "figures" / "components.png")
    (folder / "results.json").write_text(json.dumps(results))
    return build_cluster_report(folder, Spec)


def inverse_report(folder: Path) -> Path:
    """The page of an inverse problem, with made-up metrics."""
    method = {"candidates": 30, "evaluations": 400, "seconds": 5.0, "precision": 1.0, "recall": 0.6, "hull_area": 0.1}
    methods = [{"method": name, **method} for name in ("conditional VAE", "conditional VAE, refined", "multi-start")]
    gates, coverage = {"rmse": 1.0, "all_pass": True}, {"p_value": 0.4, "levels": {"0.5": 0.5, "0.9": 0.9}}
    posterior = {"calibration": {"curves": 1000, "inside": 0.5}, "coverage": coverage, "predictive": None}
    posterior |= {"reference": None, "examples": [[{"name": "x0", "mean": 1.0, "low": 0.5, "high": 1.5, "truth": 1.1}]]}
    results = {"curves": 50, "samples": 30, "refine": 20, "walk": 12, "verdict": "ok", "bound": 2.6, "gates": gates}
    results |= {"recall": 0.6, "precision": 1.0, "filtered": {"distinct": 10.5}, "seconds": {"train": 3}}
    results |= {"sources": {"share": 0.5, "walk": 12}, "prior": "x0, x1 uniform from 0 to 1"}
    results |= {"unrefined": methods[0], "network": methods[1], "baselines": methods[2:], "posterior": posterior}
    problem = {"name": "product", "forward": ["x0 * x1"], "x_shape": [2], "y_shape": [1], "noise": [0.0]}
    problem |= {"gate": [0.1], "x_names": [], "y_names": []}
    png(folder / "figures" / "corner-0.png")
    for name, found in {"spec": Spec().model_dump(), "problem": problem, "metrics": {"inverse": results}}.items():
        (folder / f"{name}.json").write_text(json.dumps(found))
    return build_inverse_report(folder, Spec)
