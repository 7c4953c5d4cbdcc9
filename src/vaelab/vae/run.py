"""`train`: one model into a run folder, with the loop, checkpoints and pictures of a study's trials."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from vaelab import store
from vaelab.data import Dataset, describe
from vaelab.engine import training
from vaelab.engine.process import one_thread
from vaelab.errors import InputError, TrainingFailed
from vaelab.report import build_run_report
from vaelab.settings.yardsticks import FINAL_DRAWS, VALIDATION_ROWS
from vaelab.store.folders import default_folder
from vaelab.study import jobs
from vaelab.study.jobs import Job, Member, Outcome
from vaelab.vae.custom_networks import CustomNetworks
from vaelab.vae.explorer import explorer_of
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.learning import Variational, pace
from vaelab.vae.modules import Decoder, Encoder
from vaelab.vae.pictures import draw_run
from vaelab.vae.priors.prior import prior_type
from vaelab.vae.spec import Spec
from vaelab.vae.system import VAESystem
from vaelab.wording import counted

MARGIN = 0.95  # of the time that is planned for: a neighbour may slow the machine


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
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    timeout: float | None = None,
    progress: Callable[[int], None] = lambda epoch: None,
    note: Callable[[str], None] = lambda text: None,
) -> TrainedRun:
    """Train one model and write its run folder, default runs/<data>-<time>.

    timeout: seconds for training and judging. Where the spec was not told its epochs, the pace of a few steps decides
    their number, so that the schedule ends in time: `note` says it, and the spec records it. Where it was, training
    stops at the time, and the best epoch so far is kept.

    starts: how many models train, where that is faster as one stack, from the spec's seed and those that follow it; the
    one of lowest validation neg_elbo is kept, as if its seed alone had been trained, and metrics.json has the figures
    of all. No label takes part in the choice.

    encoder, decoder: custom networks in place of the built ones (see `vae.custom_networks` for their shapes);
    training starts from their parameters, copied, and `run.model.encoder` holds the trained ones.

    A run that was stopped continues with `resume`, bit for bit as if it had not been: its checkpoint is in
    <out>.partial. The test split is read only with `open_test`. Raises TrainingFailed where the loss became non-finite.
    """
    if starts < 1:
        raise InputError(f"`starts` must be at least 1, but got {starts}.")
    if timeout is not None and not timeout > 0:
        raise InputError(f"`timeout` must be a positive number of seconds, but got {timeout}.")
    custom = CustomNetworks.of(encoder, decoder)
    began, is_planned = time.perf_counter(), "epochs" in spec.model_fields_set
    spec = resolve(spec, data)
    feed = Feed(data, spec)  # refuses data that the likelihood cannot take, before anything is written
    if custom is not None:
        _check_custom(custom, spec, feed, starts)
    folder = default_folder(data.name) if out is None else Path(out)
    partial = folder.with_name(folder.name + ".partial")
    _prepare(folder, partial, overwrite, resume)
    begun = jobs.begun_epochs(partial, "start0") if resume and not is_planned else None
    if begun is not None:
        spec, is_planned = spec.replace(epochs=begun), True
    with one_thread():
        seconds = None
        if timeout is not None:
            epoch, judging = _pace(spec, feed, custom, starts, open_test)
            seconds = timeout - (time.perf_counter() - began) - judging
            if not is_planned:
                spec = spec.replace(epochs=max(spec.pretrain_epochs + 1, int(MARGIN * seconds / epoch)))
                note(
                    f"{counted(spec.epochs, 'epoch')} of about {epoch:.3g} s fill {timeout:g} s; repeat it by "
                    f"epochs = {spec.epochs}."
                )
        try:
            _train_starts(spec, starts, VAESystem(custom=custom), feed, partial, folder, seconds, progress)
        except KeyboardInterrupt:
            note(f"stopped; what was trained is kept in {partial}, and `resume` goes on from there.")
            raise
        model = Fitted.load(folder, custom=custom)
        changes = {
            "data": describe(data),
            "train": model.evaluate(data, "train", 1, VALIDATION_ROWS),
            "seconds_total": time.perf_counter() - began,
        }
        if open_test:
            store.count_test_opening(folder)
            changes["test"] = model.evaluate(data, "test", FINAL_DRAWS)
        store.update_metrics(folder, changes)
        trained = len(store.load_run(folder).history)
        if trained < spec.epochs:
            note(f"stopped by the time after epoch {trained} of {spec.epochs}; the best epoch so far is kept.")
        if figures:
            draw_run(model, data, folder.name)
    build_run_report(folder, Spec, explorer_of(data))
    shutil.rmtree(partial)
    run = store.load_run(folder)
    return TrainedRun(folder, model, run.history, run.metrics, data)


def _train_starts(
    spec: Spec,
    starts: int,
    system: VAESystem,
    feed: Feed,
    partial: Path,
    folder: Path,
    seconds: float | None,
    progress: Callable[[int], None],
) -> None:
    """Train the spec from several seeds, by checkpoints in `partial`; `folder` becomes the run of the best."""
    members = [Member(f"start{i}", spec.replace(seed=spec.seed + i)) for i in range(starts)]
    places = {m.name: str(partial / m.name) for m in members}
    outcomes: list[Outcome] = []
    stacks = [(member,) for member in members] if spec.trains_alone else [tuple(members)]
    for stack in stacks:
        job = Job(
            stack, spec.epochs, str(partial), is_final=True, folders={m.name: places[m.name] for m in stack},
            seconds=None if seconds is None else seconds / len(stacks),
        )  # fmt: skip
        outcomes += jobs.run(job, system, feed, lambda _, epoch: progress(epoch))
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


def _best(outcomes: Sequence[Outcome]) -> int:
    """Which start has the lowest validation figure, the first of equals; one that failed has none."""
    values = {i: outcome.value for i, outcome in enumerate(outcomes) if outcome.value is not None}
    if not values:
        raise TrainingFailed(f"training failed: {outcomes[0].failure}; lower `lr` or `clip`.")
    return min(values, key=values.__getitem__)


def _check_custom(custom: CustomNetworks, spec: Spec, feed: Feed, starts: int) -> None:
    if prior_type(spec.prior).is_pretrained:
        raise InputError("`prior` = mixture rewrites dense layers, which custom networks need not have; use another.")
    if starts > 1:
        raise InputError("`starts` must be 1 with custom networks: training starts from their parameters.")
    custom.check(spec.latent_dim, feed.grid)


def _pace(spec: Spec, feed: Feed, custom: CustomNetworks | None, starts: int, open_test: bool) -> tuple[float, float]:
    """Seconds of an epoch of all starts, and of judging what was trained, as a few steps tell."""
    together = 1 if spec.trains_alone else starts
    epoch, row = pace(
        training.Stack([spec.replace(prior="normal", pretrain="auto")] * together, feed, Variational(custom))
    )
    rows = {name: len(split) for name, split in feed.data.splits.items()}
    judged = starts * rows["validation"] + (rows["test"] if open_test else 0)
    draws = FINAL_DRAWS * judged + min(rows["train"], VALIDATION_ROWS)
    return epoch * starts / together, row / together * draws


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
