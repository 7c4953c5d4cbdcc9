"""Train a conditional VAE that inverts y = f(x)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.api import progress
from vaelab.api.given import settings_of
from vaelab.inverse import run as inverting
from vaelab.inverse.config import InversionConfig
from vaelab.inverse.problems import Problem
from vaelab.origin import told
from vaelab.settings.space import Space


@told
def invert(
    problem: Problem,
    settings: Mapping[str, Any] | None = None,
    *,
    space: Space | Mapping[str, Any] | None = None,
    trials: int = 0,
    yardstick: str | None = None,
    samples: int = 30,
    refine: int = 20,
    walk: int = 12,
    seed: int = 0,
    spectrum: bool | None = None,
    baselines: bool = True,
    flow: bool = True,
    npe: bool = False,
    out: str | Path | None = None,
    overwrite: bool = False,
    watch: inverting.InversionWatch | None = None,
) -> inverting.Inversion:
    """Train a conditional VAE on a problem, draw candidates for every scored measurement, refine and score them.

    problem: as returned by `vaelab.inverse.files.load`: pairs of x and y = f(x), and f.
    settings: fixed settings, such as {"epochs": 30}.
    space: settings to search, such as {"beta": (0.1, 10, "log")}. trials: number of trials before the final training.
    yardstick: what the search optimizes on validation: "recall", "precision" or "bound".
    samples: candidates per measurement.
    refine: damped Gauss-Newton steps per candidate. walk: random-walk steps in the latent space before refinement.
    seed: for training and sampling.
    spectrum: also feed the spectrum of y to the network; by default for curves without noise.
    baselines: also run methods without a network. flow: of noisy y, also train a flow, which draws unless the VAE is
        better on validation by two standard errors. npe: also sbi's neural posterior estimation.
    out: the run's folder; by default runs/<problem>-<time>. Until it finishes, its files are in <out>.partial.
    overwrite: replace existing output. watch: receives progress events; by default a notebook
        shows a bar.

    Raises InputError for bad input, before anything is trained. The scored measurements influence no choice.

    >>> import numpy as np
    >>> from vaelab.inverse import problems
    >>> problem = problems.create("total", np.random.default_rng(0).random((400, 2)), None, ["x0 + x1"])
    >>> found = invert(problem, {"epochs": 2, "hidden": "16"}, samples=4, refine=2, walk=1, baselines=False,
    ...                out=getfixture("tmp_path") / "run")
    >>> found.results["problem"]
    'total'
    """
    config = InversionConfig.create(
        problem, settings_of(settings), space, yardstick, trials=trials, samples=samples, refine=refine, walk=walk,
        seed=seed, spectrum=spectrum, baselines=baselines, flow=flow, npe=npe,
    )  # fmt: skip
    with progress.inversion(watch, config.epochs) as seen:
        return inverting.begin(problem, config, out=out, overwrite=overwrite, watch=seen)
