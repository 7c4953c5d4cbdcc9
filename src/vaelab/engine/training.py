"""The training loop, for K members at once. It yields records, writes no files and is independent of studies."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.engine import memory
from vaelab.engine.graphs import NEVER, StaticStep
from vaelab.engine.networks import Block, Stacked, Training, fast_products
from vaelab.engine.optimizers import Optimizer
from vaelab.engine.rows import Rows
from vaelab.engine.seeds import derive_seed
from vaelab.settings.spec import ModelSpec

NOISE_FLOATS = 1 << 20  # numbers drawn at once per member: 4 MB
AVERAGED_SHARE = 0.1  # of the steps so far, over which weights are averaged
AVERAGE_EVERY = 32  # steps
STALLED_STEPS = 1_500  # before which no training counts as stalled

S = TypeVar("S", bound=ModelSpec)  # the settings of one kind of model
F = TypeVar("F", bound=Rows)  # the data as its input
M = TypeVar("M", bound=Stacked)  # its network, for K members


@dataclasses.dataclass(frozen=True)
class Record:
    """One epoch of one member. `train` is the running mean over the epoch; values in nats per example.

    In autoencoder epochs `train` is evaluated at z = mean and is not a bound; `validation` always is.
    """

    epoch: int
    lr: float
    train: Mapping[str, float]
    validation: Mapping[str, float]
    is_best: bool
    beta: float | None = None  # of a VAE

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


@dataclasses.dataclass(frozen=True)
class MemberState:
    """One member between two epochs: parameters, statistics, moments, best weights, generator and progress."""

    arrays: Mapping[str, npt.NDArray[Any]]
    epoch: int
    step: int
    best_loss: float
    best_epoch: int


class Losses(Protocol):
    """The loss of a batch: `stored` terms (K, B) for the record, and the training loss (K,)."""

    @property
    def loss(self) -> Tensor: ...

    @property
    def stored(self) -> Mapping[str, Tensor]: ...


Batch = tuple[Tensor, ...]  # all that the loss of a step depends on besides the parameters


@dataclasses.dataclass(frozen=True)
class Validated:
    """One member after an epoch: metrics for its record, and its target, which selects the best epoch."""

    train: Mapping[str, float]
    validation: Mapping[str, float]
    target: float
    beta: float | None = None


class Fused(Protocol):
    """The training steps of one stack by fused kernels, in place of autograd and the optimizer."""

    def epoch(self, order: Tensor) -> tuple[dict[str, Tensor], dict[int, int]]:
        """All steps over rows `order` (K, n): the sum of each stored term (K,), and the step, counted from 0, in which
        the gradient of a member was not finite.
        """

    def validation(self) -> Tensor:
        """The members on the validation rows, as the method needs it for its records."""


class Method(Protocol[S, F, M]):
    """The training method of one kind of model: everything specific to it. Stateless."""

    @property
    def kernels(self) -> str:
        """The module of its fused kernels."""

    @property
    def is_capturable(self) -> bool:
        """Whether no code of a user's, which may ask the device for numbers, takes part in a step."""

    def key(self, spec: S, features: int) -> tuple[object, ...]:
        """What members of one stack must share: depends only on the spec."""

    def model(self, spec: S, feed: F) -> M:
        """The network of a stack."""

    def initial(self, model: M, spec: S, feed: F, generator: torch.Generator) -> Tensor:
        """A member's initial parameters and statistics, a padded row (P + Q,)."""

    def phases(self, spec: S) -> Sequence[int]:
        """Epochs at which a new phase begins, with a new optimizer and a full learning rate schedule."""

    def enter_phase(self, stack: Stack[S, F, M]) -> None:
        """Modify the members at the start of a phase; failures are recorded in `stack.failures`."""

    def batches(self, stack: Stack[S, F, M], order: Tensor) -> Iterator[Batch]:
        """The batches of an epoch over rows `order` (K, n), on the device. Only the last may have other shapes."""

    def losses(self, stack: Stack[S, F, M], batch: Batch) -> Losses:
        """The loss of a batch. Asks the device for no number, so that it can be captured."""

    def frozen(self, stack: Stack[S, F, M]) -> Sequence[Block]:
        """Parameters that are frozen in the next epoch."""

    def fused(self, stack: Stack[S, F, M]) -> Fused | None:
        """The steps of a stack by fused kernels; None if there are none for it, and autograd trains it."""

    def validate(self, stack: Stack[S, F, M], train: list[dict[str, float]]) -> list[Validated]:
        """Every member after an epoch; `train` has the means of its stored terms."""


class Stack(Generic[S, F, M]):
    """K members that train together: parameters, optimizer state, generators and best weights. Plain state, no loop."""

    def __init__(self, specs: Sequence[S], feed: F, method: Method[S, F, M]):
        """`method` defines the kind of model and its loss."""
        specs = [spec.settled for spec in specs]
        spec = specs[0]
        self.method = method
        assert len({method.key(s, feed.features) for s in specs}) == 1, "members of a stack must share their key"
        self.specs, self.feed = list(specs), feed
        self.model = method.model(spec, feed)
        memory.check_parameters(self.model.layout.size, len(specs), feed.device)
        n = len(feed.data.splits["train"])
        self.batch_size = min(int(spec.batch_size), n)
        self.steps_per_epoch = -(-n // self.batch_size)
        initial = [
            method.initial(self.model, s, feed, torch.Generator().manual_seed(derive_seed(s.seed, 0))) for s in specs
        ]
        rows, P = torch.stack(initial).to(feed.device), self.model.layout.size
        self.parameters, self.statistics = (
            part.clone(memory_format=torch.contiguous_format) for part in (rows[:, :P], rows[:, P:])
        )
        self.generators = [torch.Generator(feed.device).manual_seed(derive_seed(s.seed, 1)) for s in specs]
        self.average = rows.clone()
        self.epoch = 0
        self.is_static = feed.device.type == "cuda" and method.is_capturable
        self.begin_phase()
        self.best = rows.clone()
        self.best_loss = [math.inf] * len(specs)
        self.best_epoch = [0] * len(specs)
        self.failures: list[str | None] = [None] * len(specs)
        self._bind()

    def __len__(self) -> int:
        return len(self.specs)

    def begin_phase(self) -> None:
        """A new optimizer with a full learning rate schedule, for the phase of the next epoch."""
        ends = [*self.method.phases(self.specs[0]), int(self.specs[0].epochs)]
        first = max((end for end in ends if end <= self.epoch), default=0)
        last = min((end for end in ends if end > self.epoch), default=self.epoch)
        self.optimizer = Optimizer(self.specs, self.parameters, self.steps_per_epoch * (last - first))
        self.static_steps: dict[object, StaticStep] = {}

    def _bind(self) -> None:
        self.leaves = {n: v.requires_grad_() for n, v in self.model.layout.views(self.parameters).items()}
        self.in_training = Training(self.leaves | self.model.statistics.views(self.statistics))
        self.static_steps = {}
        self._tail = self.parameters.new_zeros(len(self.specs), self.model.layout.tail)
        self.fused = self.method.fused(self)

    def differentiate(self, loss: Tensor, gradient: Tensor) -> None:
        """Write the gradient (K, P) of the members' losses (K,); that of frozen parameters is 0."""
        # A custom network may have unused parameters.
        found = torch.autograd.grad(loss.sum(), list(self.leaves.values()), materialize_grads=True)
        torch.cat([*(g.reshape(len(self), -1) for g in found), self._tail], 1, out=gradient)
        for block in self.method.frozen(self):
            gradient[:, block.offset : block.offset + block.size] = 0

    def select(self, members: Sequence[int]) -> None:
        """Keep only some members; their further results do not change."""
        index = torch.tensor(list(members), dtype=torch.int64, device=self.parameters.device)
        self.parameters, self.statistics, self.average, self.best = (
            rows.index_select(0, index) for rows in (self.parameters, self.statistics, self.average, self.best)
        )
        self.optimizer.select(members, self.parameters)
        self.specs = [self.specs[k] for k in members]
        self.generators = [self.generators[k] for k in members]
        self.best_loss = [self.best_loss[k] for k in members]
        self.best_epoch = [self.best_epoch[k] for k in members]
        self.failures = [self.failures[k] for k in members]
        self._bind()

    def member_state(self, k: int) -> MemberState:
        """Everything needed for a bit-exact continuation of one member after an epoch."""
        optimizer = self.optimizer
        tensors = {
            "parameters": self.parameters[k], "statistics": self.statistics[k], "average": self.average[k],
            "best": self.best[k], "first": optimizer.first[k], "second": optimizer.second[k],
            "generator": self.generators[k].get_state(),
        }  # fmt: skip
        arrays = {name: t.cpu().numpy().copy() for name, t in tensors.items()}
        return MemberState(arrays, self.epoch, optimizer.step_number, self.best_loss[k], self.best_epoch[k])

    def restore(self, states: Sequence[MemberState]) -> None:
        """Continue from the states of this stack's members, all at the same epoch, from any previous stack."""
        ((self.epoch, step),) = {(s.epoch, s.step) for s in states}
        self.begin_phase()
        self.optimizer.step_number = step
        for k, state in enumerate(states):
            for mine, name in (
                (self.parameters, "parameters"), (self.statistics, "statistics"), (self.average, "average"),
                (self.best, "best"), (self.optimizer.first, "first"), (self.optimizer.second, "second"),
            ):  # fmt: skip
                mine[k] = torch.from_numpy(state.arrays[name])
            self.generators[k].set_state(torch.from_numpy(state.arrays["generator"]))
        self.best_loss = [state.best_loss for state in states]
        self.best_epoch = [state.best_epoch for state in states]

    def part(self, members: Sequence[int]) -> Stack[S, F, M]:
        """A copy of some members; their results are the same in any stack."""
        copy = Stack([self.specs[k] for k in members], self.feed, self.method)
        copy.restore([self.member_state(k) for k in members])
        return copy

    def keep_unfinished(self) -> None:
        """If training ends before any epoch was kept as best, the current weights are the best."""
        for k, loss in enumerate(self.best_loss):
            if math.isinf(loss):
                self.best[k] = self.judged[k]

    @property
    def is_averaged(self) -> bool:
        """Whether any member has averaged weights."""
        return any(spec.schedule == "averaged" for spec in self.specs)

    @torch.no_grad()
    def blend(self, k: int, step: int, gap: int) -> None:
        """Add a member's weights after `step` steps of its phase, `gap` steps after the last time, to its average.

        average <- average + a (weights - average), a = min(1, gap / (0.1 step)): an exponential mean whose window is a
        tenth of the steps so far. It follows the weights as closely as an annealed learning rate does (Izmailov et al.
        2018), at any time and without a planned end.
        """
        share = min(1.0, gap / (AVERAGED_SHARE * step)) if self.specs[k].schedule == "averaged" else 1.0
        P = self.parameters.shape[1]
        self.average[k, :P].lerp_(self.parameters[k], share)
        self.average[k, P:].lerp_(self.statistics[k], share)

    @property
    def judged(self) -> Tensor:
        """The members (K, P + Q) that are validated and kept: their average, or `rows`."""
        return self.average if self.is_averaged else self.rows

    def has_stalled(self, k: int) -> bool:
        """Whether a member's validation loss has not improved for `patience` times its epochs so far."""
        spec, patience = self.specs[k], float(self.specs[k].patience)
        since, best = self.epoch - spec.ramp, self.best_epoch[k] - spec.ramp
        is_early = since * self.steps_per_epoch < STALLED_STEPS
        return spec.stops_early and not is_early and since > best * (1 + patience)

    def views(self, rows: Tensor) -> dict[str, Tensor]:
        """Full members (K, P + Q), such as `rows` or `best`, by name."""
        return self.model.views(rows)

    @property
    def rows(self) -> Tensor:
        """The current members, parameters and statistics (K, P + Q)."""
        return torch.cat([self.parameters, self.statistics], 1) if self.statistics.shape[1] else self.parameters


def epochs(stack: Stack[S, F, M], until: int | None = None) -> Iterator[list[Record]]:
    """Train until `until` epochs are done (default: all), yielding one record per member after every `stride` epochs.

    A member with a non-finite loss or gradient is recorded in `stack.failures`; the others are not affected.
    """
    spec = stack.specs[0]
    last = int(spec.epochs) if until is None else until
    stride = spec.stride(stack.steps_per_epoch)
    while stack.epoch < last:
        if stack.epoch in stack.method.phases(spec):
            stack.method.enter_phase(stack)
            stack.begin_phase()
        sums, rates = run_epoch(stack)
        stack.epoch += 1
        if stack.epoch % stride == 0 or stack.epoch == last:
            yield _close_epoch(stack, sums, rates)


def run_epoch(stack: Stack[S, F, M], steps: int | None = None) -> tuple[dict[str, Tensor], list[float]]:
    """All steps of one epoch, or its first ones; returns the sum of each stored term (K,) and the learning rates at
    its start.
    """
    feed = stack.feed
    rows = feed.rows("train")
    order = torch.stack([rows[torch.randperm(len(rows), generator=g, device=feed.device)] for g in stack.generators])
    if steps is not None:
        order = order[:, : steps * stack.batch_size]
    rates = stack.optimizer.rates()
    if stack.fused is not None:
        first = stack.optimizer.step_number
        sums, broken = stack.fused.epoch(order)
        for k, step in broken.items():
            _note_failure(stack, k, first + step + 1)
        return sums, rates
    by_autograd = _on_static_buffers if stack.is_static else _by_autograd
    return by_autograd(stack, order), rates


def _on_static_buffers(stack: Stack[S, F, M], order: Tensor) -> dict[str, Tensor]:
    """All steps over rows `order` (K, n), as a GPU does them; returns the sum of each stored term (K,)."""
    sums, first = dict[str, Tensor](), stack.optimizer.step_number
    table = torch.from_numpy(stack.optimizer.coefficients(-(-order.shape[1] // stack.batch_size)))
    columns = table.permute(1, 2, 0)[..., None].to(stack.parameters)  # (steps, 3, K, 1)
    steps = len(columns)
    for number, batch in enumerate(stack.method.batches(stack, order)):
        shape = tuple(part.shape for part in batch)
        if shape not in stack.static_steps:
            stack.static_steps[shape] = StaticStep(stack, batch)
        step = stack.static_steps[shape]
        if number == 0 or step.ended != stack.epoch:
            step.begin(stack.epoch, first + number)
        step(batch, columns[number])
        stack.optimizer.step_number += 1
        _average(stack, number + 1, steps)
    for step in stack.static_steps.values():
        if step.ended == stack.epoch:
            for k, broken in enumerate(step.first_broken.tolist()):
                if broken != NEVER:
                    _note_failure(stack, k, broken + 1)
            for name, total in step.sums.items():
                sums[name] = sums[name] + total if name in sums else total.clone()
    return sums


def _by_autograd(stack: Stack[S, F, M], order: Tensor) -> dict[str, Tensor]:
    """All steps over rows `order` (K, n); returns the sum of each stored term (K,)."""
    sums, gradient = dict[str, Tensor](), torch.empty_like(stack.parameters)
    steps = -(-order.shape[1] // stack.batch_size)
    with fast_products(stack.model.largest_layer):
        for number, batch in enumerate(stack.method.batches(stack, order)):
            losses = stack.method.losses(stack, batch)
            stack.differentiate(losses.loss, gradient)
            for k in stack.optimizer.step(gradient):
                _note_failure(stack, k, stack.optimizer.step_number)
            _average(stack, number + 1, steps)
            for name, term in losses.stored.items():
                total = term.detach().sum(1, dtype=torch.float64)
                sums[name] = sums[name] + total if name in sums else total
    return sums


def _average(stack: Stack[S, F, M], done: int, steps: int) -> None:
    """After `done` of an epoch's `steps`, all of which the optimizer has counted so far: average the weights."""
    if stack.is_averaged and (done % AVERAGE_EVERY == 0 or done == steps):
        for k in range(len(stack)):
            stack.blend(k, stack.optimizer.step_number, (done - 1) % AVERAGE_EVERY + 1)


def _note_failure(stack: Stack[S, F, M], k: int, step: int) -> None:
    """`step` is counted from 1, over all epochs."""
    if stack.failures[k] is None:
        stack.failures[k] = f"the gradient became non-finite in step {step} (epoch {stack.epoch + 1})"


def _close_epoch(stack: Stack[S, F, M], sums: dict[str, Tensor], rates: list[float]) -> list[Record]:
    """Validate, keep the best weights so far, and create the records."""
    n = len(stack.feed.data.splits["train"])
    train = [dict(zip(sums, means, strict=True)) for means in torch.stack(list(sums.values()), 1).div(n).tolist()]
    records, rows = [], stack.judged
    for k, (spec, found) in enumerate(zip(stack.specs, stack.method.validate(stack, train), strict=True)):
        better = found.target < stack.best_loss[k] and stack.epoch > min(spec.ramp, int(spec.epochs) - 1)
        if better:
            stack.best_loss[k], stack.best_epoch[k] = found.target, stack.epoch
            stack.best[k] = rows[k]
        if not math.isfinite(found.target + sum(found.train.values())) and stack.failures[k] is None:
            stack.failures[k] = f"the loss became non-finite in epoch {stack.epoch}"
        records.append(Record(stack.epoch, rates[k], found.train, found.validation, better, found.beta))
    return records
