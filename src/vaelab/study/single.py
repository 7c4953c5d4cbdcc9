"""`train`: one model into a run folder, with the loop, checkpoints and pictures of a study's trials."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vaelab import evaluate, store
from vaelab.data import Dataset, describe
from vaelab.errors import InputError
from vaelab.feed import Feed, resolve
from vaelab.fitted import Fitted
from vaelab.modules import Decoder, Encoder
from vaelab.pictures import draw_run
from vaelab.report import build_run_report
from vaelab.spec import Spec
from vaelab.study import jobs
from vaelab.study.jobs import Job, Member, Outcome
from vaelab.study.tune import default_folder
from vaelab.study.vae import VAESystem
from vaelab.training import VALIDATION_ROWS, one_thread


class TrainingFailed(RuntimeError):
    """The loss or a gradient became non-finite."""


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """What `train` returns: the model, its history (a record per epoch), its figures, and the split data."""

    folder: Path
    model: Fitted
    history: list[dict[str, Any]]
    metrics: dict[str, Any]
    data: Dataset

    def __repr__(self) -> str:
        return f"TrainedRun({str(self.folder)!r}, {self.model!r}, {len(self.history)} epochs)"

    @property
    def encoder(self) -> Encoder:
        """A torch module: examples (n, *shape) to mean and standard deviation of q(z|x), each (n, latent_dim)."""
        return self.model.encoder

    @property
    def decoder(self) -> Decoder:
        """A torch module: points (n, latent_dim) to E[x|z] (n, *shape)."""
        return self.model.decoder


def train(
    data: Dataset,
    spec: Spec,
    *,
    out: str | Path | None = None,
    starts: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    open_test: bool = False,
    figures: bool = True,
    progress: Callable[[int], None] = lambda epoch: None,
) -> TrainedRun:
    """Train one model and write its run folder, default runs/<data>-<time>.

    starts: how many models train as one stack, from the spec's seed and those that follow it; the one of lowest
    validation neg_elbo is kept, as if its seed alone had been trained, and metrics.json has the figures of all. No
    label takes part in the choice.

    A run that was stopped continues with `resume`, bit for bit as if it had not been: its checkpoint is in
    <out>.partial. The test split is read only with `open_test`. Raises TrainingFailed where the loss became non-finite.
    """
    if starts < 1:
        raise InputError(f"`starts` must be at least 1, but got {starts}.")
    spec = resolve(spec, data)
    feed = Feed(data, spec)  # refuses data that the likelihood cannot take, before anything is written
    folder = default_folder(data) if out is None else Path(out)
    partial = folder.with_name(folder.name + ".partial")
    _prepare(folder, partial, overwrite, resume)
    began = time.perf_counter()
    with one_thread():
        members = [Member(f"start{i}", spec.but(seed=spec.seed + i)) for i in range(starts)]
        places = {m.name: str(partial / m.name) for m in members}
        job = Job(tuple(members), spec.epochs, str(partial), is_final=True, folders=places)
        outcomes = jobs.run(job, VAESystem(), feed, lambda _, epoch: progress(epoch))
        kept = _best(outcomes)
        run = store.load_run(places[members[kept].name])
        reached = [
            {"seed": member.spec.seed, "neg_elbo": outcome.value, "kept": i == kept}
            for i, (member, outcome) in enumerate(zip(members, outcomes, strict=True))
        ]
        store.save_run(
            folder, spec=run.spec, data=run.data, arrays=run.weights, history=run.history,
            metrics=run.metrics | {"starts": reached}, overwrite=True,
        )  # fmt: skip
        model = Fitted.load(folder)
        changes = {
            "data": describe(data),
            "train": model.evaluate(data, "train", 1, VALIDATION_ROWS),
            "seconds_total": time.perf_counter() - began,
        }
        if open_test:
            store.count_test_opening(folder)
            changes["test"] = model.evaluate(data, "test", evaluate.FINAL_DRAWS)
        store.update_metrics(folder, changes)
        if figures:
            draw_run(model, data, folder.name)
    build_run_report(folder, data)
    shutil.rmtree(partial)
    run = store.load_run(folder)
    return TrainedRun(folder, model, run.history, run.metrics, data)


def _best(outcomes: Sequence[Outcome]) -> int:
    """Which start has the lowest validation figure, the first of equals; one that failed has none."""
    values = {i: outcome.value for i, outcome in enumerate(outcomes) if outcome.value is not None}
    if not values:
        raise TrainingFailed(f"training failed: {outcomes[0].failure}; lower `lr` or `clip`.")
    return min(values, key=values.__getitem__)


def _prepare(folder: Path, partial: Path, overwrite: bool, resume: bool) -> None:
    """Refuse to lose anything: a finished run needs `overwrite`, a stopped one `resume` or `overwrite`."""
    if resume:
        if not partial.exists():
            raise InputError(f"there is nothing to resume: {partial} does not exist; train it without resuming.")
        return
    if partial.exists():
        if not overwrite:
            raise InputError(f"{folder} was begun and stopped; `resume` it, or `overwrite` it.")
        shutil.rmtree(partial)
    if folder.exists():
        store.new_folder(folder, overwrite).rmdir()  # a free place, which the finished run takes in one rename
    store.new_folder(partial)
