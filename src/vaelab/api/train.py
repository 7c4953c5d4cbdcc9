"""Train one VAE."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from vaelab.api import progress as showing
from vaelab.api.given import as_dataset
from vaelab.origin import told
from vaelab.settings import checks
from vaelab.settings.spec import check_idle
from vaelab.vae import run as training
from vaelab.vae.spec import Spec


@told
def train(
    x: Any,
    spec: Spec | Mapping[str, Any] | None = None,
    y: Any = None,
    *,
    reading: Mapping[str, Any] | None = None,
    split_seed: int = 0,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    starts: int = 1,
    timeout: float | None = None,
    open_test: bool = False,
    figures: bool = True,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Callable[[int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> training.TrainedRun:
    """Train one VAE; returns its history, encoder, decoder, metrics and the split data.

    Encoder and decoder of the result are plain torch modules that work without vaelab's engine;
    `run.model.encode` and `run.model.decode` do the same on arrays, with input checks.

    x: an array (n, *shape), a Dataset, or the name or path of data.
    spec: a Spec, or settings such as {"latent_dim": 2}; the others keep their defaults.
    y: labels (n,), or their location: a column, a key, another file. Used only to colour pictures.
    reading: how tables are read and rows are split, such as {"id": "name", "group": "patient"} (see `as_dataset`).
    split_seed: seed of the train/validation/test split.
    encoder, decoder: custom torch modules (see `vaelab.vae.custom_networks.CustomNetworks`).
    starts: number of consecutive seeds to train; the one with the lowest validation negative ELBO is kept.
    timeout: seconds. If `spec` sets no epochs, the time of a few steps determines them; else training stops in time.
    open_test: also evaluate on the test split, and record that it was opened.
    figures: draw the run's pictures.
    out: the run's folder; by default runs/<data>-<time>.
    overwrite: replace existing output. resume: continue the interrupted run in `out`.
    progress: called with the number of each finished epoch. note: called with messages for the user. By default a
        notebook shows both.

    Raises InputError for bad input, before anything is written; TrainingFailed if the loss becomes non-finite.

    >>> run = train("digits", {"latent_dim": 2, "epochs": 1}, out=getfixture("tmp_path") / "run")
    >>> run.encoder(run.data.rows("validation"))[0].shape
    torch.Size([180, 2])
    """
    if isinstance(spec, Spec):
        chosen = spec
    else:
        settings = {} if spec is None else checks.table("`spec`", spec)
        check_idle(settings, Spec)
        chosen = Spec.create(**settings)
    data = as_dataset(x, y, split_seed, reading)
    with showing.epochs(progress, chosen.epochs) as seen:
        return training.train(
            data, chosen, out=out, starts=starts, overwrite=overwrite, resume=resume, open_test=open_test,
            figures=figures, encoder=encoder, decoder=decoder, timeout=timeout, progress=seen,
            note=note or showing.tell,
        )  # fmt: skip
