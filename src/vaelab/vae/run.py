"""`train`: one model into a run folder, with the same loop, checkpoints and pictures as a study's trials."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from vaelab import store
from vaelab.data import Dataset, describe
from vaelab.engine import training
from vaelab.engine.process import one_thread
from vaelab.engine.resolve import budget_text
from vaelab.errors import InputError, StoreError, TrainingFailed
from vaelab.plots.dataset import draw_data
from vaelab.report import build_run_report
from vaelab.report.notebook import Paged
from vaelab.settings.checks import MOST_RUNS, positive, whole
from vaelab.settings.yardsticks import FINAL_DRAWS, VALIDATION_ROWS
from vaelab.store.folders import default_folder
from vaelab.study import jobs
from vaelab.study.checkpoints import Member, begun_with, drop_torn
from vaelab.study.jobs import Job, Outcome
from vaelab.vae import baselines
from vaelab.vae.about_columns import about_columns
from vaelab.vae.config import TrainConfig
from vaelab.vae.custom_networks import CustomNetworks
from vaelab.vae.explorer import explorer_of
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.learning import Variational, pace
from vaelab.vae.modules import Decoder, Encoder
from vaelab.vae.pictures import draw_drivers, draw_run
from vaelab.vae.priors.prior import prior_type
from vaelab.vae.spec import Spec
from vaelab.vae.system import VAESystem
from vaelab.wording import counted, number

MARGIN = 0.95  # of the planned time: other processes may slow the machine


@dataclasses.dataclass(frozen=True, repr=False)
class TrainedRun(Paged):
    """What `train` returns: the model, its history (a record per epoch), its metrics, and the split data."""

    folder: Path
    model: Fitted
    history: list[dict[str, Any]]
    metrics: dict[str, Any]
    data: Dataset

    @property
    def main_metrics(self) -> Mapping[str, str]:
        return {
            "data": self.data.name,
            "latent dimensions": str(self.model.spec.latent_dim),
            "epochs": number(self.history[-1]["epoch"]),
            "validation negative ELBO": number(self.metrics["validation"]["neg_elbo"]),
        }

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

    timeout: seconds for training and evaluation. If the spec sets no epochs, the speed of a few steps determines
    their number, so that the schedule ends in time; `note` reports it, and the spec records it. Otherwise training
    stops at the limit, and the best epoch so far is kept.

    starts: number of models to train (as one stack if that is faster), with the spec's seed and those that follow it;
    the one with the lowest validation neg_elbo is kept, identical to training its seed alone, and metrics.json has the
    metrics of all. Labels play no part in the choice.

    encoder, decoder: custom networks (see `vae.custom_networks` for their shapes); training starts from a copy of
    their parameters, and `run.model.encoder` has the trained ones.

    An interrupted run continues with `resume`, with bit-identical results: its checkpoint is in <out>.partial. The test
    split is read only with `open_test`. Raises TrainingFailed if the loss becomes non-finite.
    """
    whole("starts", starts, 1, MOST_RUNS)
    if timeout is not None:
        positive("timeout", timeout, "seconds")
    custom = CustomNetworks.of(encoder, decoder)
    asked = TrainConfig(spec, starts, open_test, figures, timeout, () if custom is None else tuple(custom.parts))
    began, is_planned = time.perf_counter(), spec.epochs != "auto"
    folder = default_folder(data.name) if out is None else Path(out)
    if resume:
        drop_torn(store.preparation(folder), note)
    begun = begun_with(store.preparation(folder), "start0") if resume else {}
    if spec.engine == "auto":
        spec = spec.replace(engine=begun.get("engine", "auto" if custom is None else "autograd"))
    spec = resolve(spec, data)
    feed = Feed(data, spec)  # rejects data that do not fit the likelihood, before anything is written
    if custom is not None:
        _check_custom(custom, spec, feed, starts)
    if begun and not is_planned:
        spec, is_planned = spec.replace(epochs=begun["epochs"]), True
    if resume and store.unfinished(folder) == folder:
        return _finished(folder, spec, is_planned, data, custom, note)
    with _partial(folder, overwrite, resume) as partial, one_thread():
        asked.save(partial, data.source)
        seconds, structured = None, baselines.structured(feed, timeout or math.inf)  # before the limit is shared out
        if timeout is not None:
            epoch, judging = _pace(spec, feed, custom, starts, open_test)
            seconds = timeout - (time.perf_counter() - began) - judging
            if not is_planned:
                spec = spec.replace(epochs=max(spec.pretrain_epochs + 1, int(MARGIN * seconds / epoch)))
                note(
                    f"{counted(int(spec.epochs), 'epoch')} of about {epoch:.3g} s fit into {timeout:g} s; to "
                    f"reproduce, set epochs = {spec.epochs} and patience = {spec.patience}."
                )
        elif not is_planned:
            note(budget_text(spec, data))
        _train_starts(spec, starts, VAESystem(custom=custom), feed, partial, seconds, progress)
        run = partial / "run"
        asked.save(run, data.source)
        model = Fitted.load(run, custom=custom)
        changes: dict[str, Any] = {
            "data": describe(data),
            "train": model.evaluate(data, "train", 1, VALIDATION_ROWS),
            "seconds_total": time.perf_counter() - began,
        }
        if open_test:
            store.count_test_opening(run)
            changes["test"] = model.evaluate(data, "test", FINAL_DRAWS)
        metrics = store.load_run(run).metrics
        changes["reference"] = metrics["reference"] | structured.as_dict(feed, open_test)
        value = metrics["validation"]["neg_elbo"]
        changes["beaten"] = structured.beaten(value, baselines.of_model(model, feed), "this model's")
        changes |= about_columns(model, data)
        store.update_metrics(run, changes)
        if metrics["epochs"] < int(spec.epochs):
            note(
                f"training ended after epoch {metrics['epochs']} of at most {spec.epochs}; epoch "
                f"{metrics['best_epoch']} is kept."
            )
        if figures:
            draw_run(model, data, folder.name)
            if not data.is_image:
                draw_data(data, run / "figures")
            draw_drivers(changes["drivers"], run, folder.name)
        build_run_report(run, Spec, explorer_of(data), title=folder.resolve().name)
    return _trained(folder, data, custom)


def resume(
    folder: str | Path,
    data: Dataset,
    *,
    timeout: float | None = None,
    progress: Callable[[int], None] = lambda epoch: None,
    note: Callable[[str], None] = lambda text: None,
) -> TrainedRun:
    """Resume an interrupted `train` on its data, as its config.toml says, with an identical model.

    timeout: seconds from now on, by default as many as at the start. Raises InputError if networks came from Python.
    """
    folder = store.destination(Path(folder))
    asked, source = TrainConfig.read(store.unfinished(folder) / "config.toml")
    if source.get("fingerprint") != data.source.get("fingerprint"):
        raise StoreError(f"{folder} was started with other data; give the same data, or train another model.")
    if asked.custom:
        raise InputError(
            f"the {' and '.join(asked.custom)} of {folder} came from Python; resume there, with the same modules."
        )
    return train(
        data, asked.spec, out=folder, starts=asked.starts, resume=True, open_test=asked.open_test,
        figures=asked.figures, timeout=timeout or asked.timeout, progress=progress, note=note,
    )  # fmt: skip


def _trained(folder: Path, data: Dataset, custom: CustomNetworks | None) -> TrainedRun:
    run = store.load_run(folder)
    return TrainedRun(folder, Fitted.load(folder, custom=custom), run.history, run.metrics, data)


def _finished(
    folder: Path,
    spec: Spec,
    is_planned: bool,
    data: Dataset,
    custom: CustomNetworks | None,
    note: Callable[[str], None],
) -> TrainedRun:
    """The run in `folder`, if there is nothing left to resume."""
    if not (folder / "manifest.json").is_file():
        raise InputError(f"there is nothing to resume: {folder} was not begun; train without `resume`.")
    found = _trained(folder, data, custom)
    was = found.model.spec
    left_out = {"device", "engine", "seed"} | (set() if is_planned else {"epochs"})  # of starts, one seed was kept
    other = [f"{name} = {getattr(was, name)}" for name, value in spec if value != getattr(was, name)]
    other = [told for told in other if told.partition(" ")[0] not in left_out]
    if other or found.model.facts.fingerprint != data.fingerprint:
        raise InputError(
            f"{folder} is finished, and was trained with {', '.join(other) or 'other data'}; choose another `out`."
        )
    note(f"{folder} is finished; there is nothing to resume.")
    return found


def resumable(
    data: Dataset,
    spec: Spec,
    folder: Path,
    *,
    starts: int = 1,
    figures: bool = True,
    progress: Callable[[int], None] = lambda epoch: None,
    note: Callable[[str], None] = lambda text: None,
) -> Fitted:
    """The model in `folder`, a part of a larger run: trained now, or before that was interrupted."""
    begun = store.preparation(folder).exists()
    if folder.exists() and not begun:
        check_trained(folder, resolve(spec, data), {"seed"} if starts > 1 else set())
        return Fitted.load(folder)
    return train(
        data, spec, out=folder, starts=starts, resume=begun, figures=figures, progress=progress, note=note
    ).model  # fmt: skip


def check_trained(run: Path, spec: Spec, left_out: Collection[str] = ()) -> None:
    """Raise StoreError if a part that is already trained has other settings, as after a change of config.toml."""
    was, left_out = Fitted.load(run).spec, {"device", "engine", *left_out}
    other = [
        f"{name} = {getattr(was, name)} instead of {value}"
        for name, value in spec
        if name not in left_out and getattr(was, name) != value
    ]
    if other:
        raise StoreError(
            f"config.toml has changed since {run} was trained with {', '.join(other)}; put that back and resume, or "
            "begin anew with another `out`."
        )


def _train_starts(
    spec: Spec,
    starts: int,
    system: VAESystem,
    feed: Feed,
    partial: Path,
    seconds: float | None,
    progress: Callable[[int], None],
) -> None:
    """Train the spec from several seeds, with checkpoints in `partial`, in which run/ becomes the run of the best."""
    members = [Member(f"start{i}", spec.replace(seed=spec.seed + i)) for i in range(starts)]
    places = {m.name: str(partial / m.name) for m in members}
    outcomes: list[Outcome] = []
    stacks = [(member,) for member in members] if spec.trains_alone else [tuple(members)]
    for stack in stacks:
        job = Job(
            stack, int(spec.epochs), str(partial), is_final=True, folders={m.name: places[m.name] for m in stack},
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
        partial / "run", spec=run.spec, data=run.data, arrays=run.weights, history=run.history,
        metrics=run.metrics | {"starts": reached}, overwrite=True,
    )  # fmt: skip


def _best(outcomes: Sequence[Outcome]) -> int:
    """The start with the lowest validation loss, the first of equals; failed ones are excluded."""
    values = {i: outcome.value for i, outcome in enumerate(outcomes) if outcome.value is not None}
    if not values:
        raise TrainingFailed(f"training failed: {outcomes[0].failure}; lower `lr` or `clip`.")
    return min(values, key=values.__getitem__)


def _check_custom(custom: CustomNetworks, spec: Spec, feed: Feed, starts: int) -> None:
    if prior_type(spec.prior).is_pretrained:
        raise InputError(
            "`prior` = mixture rewrites dense layers, which custom networks may not have; use another prior."
        )
    if starts > 1:
        raise InputError("`starts` must be 1 with custom networks: training starts from their parameters.")
    if spec.engine == "fused":
        raise InputError("`engine` = fused has no kernels for custom networks; use autograd.")
    custom.check(spec.latent_dim, feed.grid)


def _pace(spec: Spec, feed: Feed, custom: CustomNetworks | None, starts: int, open_test: bool) -> tuple[float, float]:
    """Seconds per epoch of all starts, and of the final evaluation, estimated from a few steps."""
    together = 1 if spec.trains_alone else starts
    epoch, row = pace(
        training.Stack([spec.replace(prior="normal", pretrain="auto")] * together, feed, Variational(custom))
    )
    rows = {name: len(split) for name, split in feed.data.splits.items()}
    judged = starts * rows["validation"] + (rows["test"] if open_test else 0)
    draws = FINAL_DRAWS * judged + min(rows["train"], VALIDATION_ROWS)
    return epoch * starts / together, row / together * draws


def _partial(folder: Path, overwrite: bool, resume: bool) -> contextlib.AbstractContextManager[Path]:
    """The folder of the unfinished run; an existing run needs `overwrite`, an interrupted one `resume` or that."""
    return store.continuing(folder) if resume else store.building(folder, overwrite, aside=True)
