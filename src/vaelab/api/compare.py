"""Compare VAEs on the same data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.api import progress
from vaelab.api.given import as_dataset
from vaelab.comparison import run as comparing
from vaelab.comparison.lineup import ComparisonWatch, Given, Lineup
from vaelab.origin import told
from vaelab.study.ray_options import Ray


@told
def compare(
    x: Any,
    models: Mapping[str, Given],
    y: Any = None,
    *,
    settings: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    split_seed: int = 0,
    seeds: int = 5,
    seed: int = 0,
    workers: int | None = None,
    ray: Ray | None = None,
    figures: bool = True,
    out: str | Path | None = None,
    overwrite: bool = False,
    watch: ComparisonWatch | None = None,
) -> comparing.Comparison:
    """Compare models over seeds, by the same yardsticks on the same rows and noise, and recommend one.

    x: an array (n, *shape), a Dataset, or the name or path of data.
    models: by name, settings such as {"hidden": "64"}, a Spec, or the path of a TOML file of settings or a run folder,
        which counts as one seed and is not retrained.
    y: labels (n,), or their location; used for probes and pictures.
    settings: shared settings; a model's own settings override them.
    reading: how tables are read and rows are split, such as {"id": "name", "group": "patient"} (see `as_dataset`).
    split_seed: seed of the train/validation/test split.
    seeds: training runs per model; run s of every model uses the seed derived from (`seed`, s).
    workers: processes, by default one per core, or as many as the Ray cluster has room for.
    ray: puts the workers on a Ray cluster, such as Ray("auto"). Neither changes results.
    figures: draw pictures and write the report.
    out: the folder; by default runs/<data>-compare-<time>. overwrite: replace existing output.
    watch: receives progress events; by default a notebook shows a bar.

    The recommendation is made on validation. Raises InputError for bad input, before anything is trained. The test
    split is read once per run, and counted.

    >>> found = compare("digits", {"wide": {"hidden": "32"}, "narrow": {"hidden": "8"}}, seeds=2, workers=1,
    ...                 settings={"latent_dim": 2, "epochs": 2}, figures=False, out=getfixture("tmp_path") / "both")
    >>> [model["name"] for model in found.results["models"]], len(found.models["wide"])
    (['wide', 'narrow'], 2)
    """
    lineup = Lineup.create(models, settings, seeds=seeds, seed=seed, figures=figures)
    data = as_dataset(x, y, split_seed, reading)
    with progress.comparison(watch) as seen:
        return comparing.begin(lineup, data, workers=workers, ray=ray, out=out, overwrite=overwrite, watch=seen)
