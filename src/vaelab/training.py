"""The one training loop, for K members at once. It yields records; it writes no file and knows no study."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy.typing as npt
import torch
from torch import Tensor

from vaelab import evaluate, pretraining
from vaelab.feed import INITIAL_ROWS, Feed
from vaelab.model import Model
from vaelab.networks import Block, Training, bucket, fast_products
from vaelab.objectives import Noise, Objective, Weights, elbo, importance_weighted
from vaelab.optimizers import Optimizer
from vaelab.own import Own
from vaelab.seeds import derive_seed
from vaelab.spec import Spec

NOISE_FLOATS = 1 << 20  # numbers drawn at once per member: 4 MB
PACE_STEPS, PACE_RUNS, PACE_ROWS = 4, 5, 200  # of a measurement of the pace
VALIDATION_ROWS = 10_000  # most rows that the validation after each epoch looks at


def stack_key(spec: Spec, features: int) -> tuple[object, ...]:
    """What members must share to be one stack. A function of the spec alone, so stacks never change a result."""
    return (
        features,
        tuple(bucket(width) for width in spec.hidden_sizes),
        bucket(spec.latent_dim, 16),
        spec.activation,
        (spec.likelihood, spec.sigma, spec.threshold, spec.binarize),
        (spec.prior, *(_mixture_key(spec) if spec.prior != "normal" else ())),
        (spec.batch_size, spec.epochs, spec.samples, spec.precision, spec.device),
        (spec.dropout > 0, spec.free_bits > 0),
        (spec.network, *(_convolutions_key(spec) if spec.network == "conv" else ())),
    )


def _convolutions_key(spec: Spec) -> tuple[object, ...]:
    return spec.channels, spec.blocks, spec.kernel, spec.norm


def _mixture_key(spec: Spec) -> tuple[object, ...]:
    return spec.components, spec.covariance, spec.latent_dim, spec.pretrain_epochs


def keep_freed_memory() -> None:
    """Tell the C library to keep freed memory for the next tensors, for this process's life; glibc only.

    It would hand large blocks back to the system after every operation, and a training step would spend a tenth of its
    time on getting them again. Called by processes that are ours: the command line and the workers.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # malloc.h
        mallopt(trim_threshold, 1 << 30)
        mallopt(mmap_threshold, 1 << 28)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for PyTorch: results do not depend on their number, and neighbours do not stall each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclasses.dataclass(frozen=True)
class Record:
    """One epoch of one member. `train` is the running mean over the epoch; figures in nats per example.

    Of epochs as an autoencoder `train` is taken at z = mean, and is no bound; `validation` always is one.
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
    """One member between two epochs: parameters, statistics, moments, best weights, generator; and how far it is."""

    arrays: Mapping[str, npt.NDArray[Any]]
    epoch: int
    step: int
    best_loss: float


class Losses(Protocol):
    """What a batch costs: `stored` terms (K, B) that a record keeps, and the loss (K,) that training minimises."""

    @property
    def loss(self) -> Tensor: ...

    @property
    def stored(self) -> Mapping[str, Tensor]: ...


@dataclasses.dataclass(frozen=True)
class Judged:
    """One member after an epoch: figures that its record keeps, and its own target, by which the best is kept."""

    train: Mapping[str, float]
    validation: Mapping[str, float]
    target: float
    beta: float | None = None


class Method(Protocol):
    """How one kind of model learns: all that the loop does not know itself. Stateless."""

    def key(self, spec: Any, features: int) -> tuple[object, ...]:
        """What members must share to be one stack: a function of the spec alone."""

    def model(self, spec: Any, feed: Any) -> Any:
        """The network of a stack: its `layout` of P parameters, `statistics` of Q numbers that no gradient moves, and
        `views` of both.
        """

    def initial(self, model: Any, spec: Any, feed: Any, generator: torch.Generator) -> Tensor:
        """A member's initial parameters and statistics, a padded row (P + Q,)."""

    def objective(self, spec: Any) -> Callable[..., Losses]:
        """What a batch costs."""

    def prepare(self, stack: Stack) -> None:
        """Before every epoch."""

    def blocks(self, stack: Stack, order: Tensor) -> Iterator[Iterator[Losses]]:
        """The batches of an epoch over rows `order` (K, n), in blocks; each is asked for after the step before it."""

    def frozen(self, stack: Stack) -> Sequence[Block]:
        """Parameters that do not learn in the coming epoch."""

    def judge(self, stack: Stack, train: list[dict[str, float]]) -> list[Judged]:
        """Every member after an epoch; `train` holds the means of its stored terms."""


class Stack:
    """K members that train together: parameters, optimizer state, generators and best weights. Plain state, no loop."""

    def __init__(self, specs: Sequence[Any], feed: Any, method: Method | None = None):
        """`method` says what kind of model it is and what it minimises; by default a VAE and its bound."""
        spec = specs[0]
        self.method = method or Variational()
        self.objective: Any = self.method.objective(spec)
        assert len({self.method.key(s, feed.features) for s in specs}) == 1, "members of a stack share their key"
        self.specs, self.feed = list(specs), feed
        self.model: Any = self.method.model(spec, feed)
        n = len(feed.data.splits["train"])
        self.batch_size = min(int(spec.batch_size), n)
        self.steps_per_epoch = -(-n // self.batch_size)
        initial = [
            self.method.initial(self.model, s, feed, torch.Generator().manual_seed(derive_seed(s.seed, 0)))
            for s in specs
        ]
        rows, P = torch.stack(initial).to(feed.device), self.model.layout.size
        self.parameters, self.statistics = (
            part.clone(memory_format=torch.contiguous_format) for part in (rows[:, :P], rows[:, P:])
        )
        self.generators = [torch.Generator(feed.device).manual_seed(derive_seed(s.seed, 1)) for s in specs]
        self.epoch = 0
        self.begin_phase()
        self.best = rows.clone()
        self.best_loss = [math.inf] * len(specs)
        self.failures: list[str | None] = [None] * len(specs)
        self._bind()

    def __len__(self) -> int:
        return len(self.specs)

    @property
    def is_autoencoder(self) -> bool:
        """Whether the coming epoch trains without noise and rate, ahead of the mixture prior."""
        return self.epoch < int(self.specs[0].pretrain_epochs)

    def begin_phase(self) -> None:
        """A new optimizer, with a learning rate's whole course, for the epochs as an autoencoder or for those after."""
        pretrain, epochs = self.specs[0].pretrain_epochs, self.specs[0].epochs
        phase = pretrain if self.is_autoencoder else epochs - pretrain
        self.optimizer = Optimizer(self.specs, self.parameters, self.steps_per_epoch * phase)

    def _bind(self) -> None:
        self.gradient = torch.empty_like(self.parameters)
        self.leaves = {n: v.requires_grad_() for n, v in self.model.layout.views(self.parameters).items()}
        self.in_training = Training(self.leaves | self.model.statistics.views(self.statistics))

    def select(self, members: Sequence[int]) -> None:
        """Keep only some members; what they compute from here on is what they would have computed anyway."""
        index = torch.tensor(list(members), dtype=torch.int64, device=self.parameters.device)
        for name in ("parameters", "statistics", "best"):
            setattr(self, name, getattr(self, name).index_select(0, index))
        self.optimizer.select(members, self.parameters)
        for name in ("specs", "generators", "best_loss", "failures"):
            setattr(self, name, [getattr(self, name)[k] for k in members])
        self._bind()

    def member_state(self, k: int) -> MemberState:
        """Everything that a bit-exact continuation of one member after a whole epoch needs."""
        optimizer = self.optimizer
        tensors = {
            "parameters": self.parameters[k], "statistics": self.statistics[k], "best": self.best[k],
            "first": optimizer.first[k], "second": optimizer.second[k], "generator": self.generators[k].get_state(),
        }  # fmt: skip
        arrays = {name: t.cpu().numpy().copy() for name, t in tensors.items()}
        return MemberState(arrays, self.epoch, optimizer.step_number, self.best_loss[k])

    def restore(self, states: Sequence[MemberState]) -> None:
        """Continue from the states of this stack's members, all of the same epoch; in any company they came from."""
        ((self.epoch, step),) = {(s.epoch, s.step) for s in states}
        self.begin_phase()
        self.optimizer.step_number = step
        for k, state in enumerate(states):
            for mine, name in (
                (self.parameters, "parameters"), (self.statistics, "statistics"), (self.best, "best"),
                (self.optimizer.first, "first"), (self.optimizer.second, "second"),
            ):  # fmt: skip
                mine[k] = torch.from_numpy(state.arrays[name])
            self.generators[k].set_state(torch.from_numpy(state.arrays["generator"]))
        self.best_loss = [state.best_loss for state in states]

    def keep_unfinished(self) -> None:
        """Where training ends before any epoch counted as best, the best weights are those of now."""
        for k, loss in enumerate(self.best_loss):
            if math.isinf(loss):
                self.best[k] = self.rows[k]

    def views(self, rows: Tensor) -> dict[str, Tensor]:
        """Whole members (K, P + Q), such as `rows` or `best`, by name."""
        views: dict[str, Tensor] = self.model.views(rows)
        return views

    @property
    def rows(self) -> Tensor:
        """The members as they are, parameters and statistics (K, P + Q)."""
        return torch.cat([self.parameters, self.statistics], 1) if self.statistics.shape[1] else self.parameters


def epochs(stack: Stack, until: int | None = None) -> Iterator[list[Record]]:
    """Train until `until` epochs are done (default: all), yielding one record per member after each epoch.

    A member whose loss or gradient became non-finite says so in `stack.failures`; its neighbours are untouched.
    """
    last = stack.specs[0].epochs if until is None else until
    while stack.epoch < last:
        stack.method.prepare(stack)
        sums, rates = _run_epoch(stack)
        stack.epoch += 1
        yield _close_epoch(stack, sums, rates)


def _fit_mixtures(stack: Stack) -> None:
    """Between the phases: every member's mixture is fitted to its own latents. A function of the parameters alone."""
    for k, spec in enumerate(stack.specs):
        try:
            fitted = pretraining.with_mixture(stack.model, stack.rows[k].detach(), spec, stack.feed)
        except FloatingPointError as error:
            stack.failures[k] = stack.failures[k] or f"{error} in epoch {stack.epoch}"
        else:
            with torch.no_grad():
                stack.parameters[k] = fitted[: stack.model.layout.size]
    stack.begin_phase()


def pace(stack: Stack) -> tuple[float, float]:
    """Seconds of a training epoch, and of judging one validation row by one draw; the stack is spent by it.

    From a few steps: the median of several short runs, after one that warms up.
    """
    feed, steps = stack.feed, min(PACE_STEPS, stack.steps_per_epoch)
    took = [_timed(lambda: _run_epoch(stack, steps)) for _ in range(1 + PACE_RUNS)]
    views, judging = stack.views(stack.rows), list[float]()
    for _ in range(1 + PACE_RUNS):
        rows = feed.batches("validation", 1, PACE_ROWS)
        spent = _timed(lambda: evaluate.mean_terms(stack.model, views, stack.specs, rows, 0.0))  # noqa: B023
        judging.append(spent / rows.rows)
    row = statistics.median(judging[1:])
    validated = min(VALIDATION_ROWS, len(feed.data.splits["validation"]))
    return statistics.median(took[1:]) / steps * stack.steps_per_epoch + row * validated, row


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _run_epoch(stack: Stack, steps: int | None = None) -> tuple[dict[str, Tensor], list[float]]:
    """All steps of one epoch, or its first ones; returns the sum of each stored term (K,) and the learning rates at
    its start.
    """
    feed, K = stack.feed, len(stack)
    rows = feed.rows("train")
    order = torch.stack([rows[torch.randperm(len(rows), generator=g, device=feed.device)] for g in stack.generators])
    if steps is not None:
        order = order[:, : steps * stack.batch_size]
    sums: dict[str, Tensor] = {}
    rates, frozen = stack.optimizer.rates(), stack.method.frozen(stack)
    leaves, tail = list(stack.leaves.values()), stack.parameters.new_zeros(K, stack.model.layout.tail)
    with fast_products(stack.model.largest_layer):
        for batches in stack.method.blocks(stack, order):
            seen: list[dict[str, Tensor]] = []
            for terms in batches:
                # A module of a user's may have parameters that it does not use.
                gradients = torch.autograd.grad(terms.loss.sum(), leaves, materialize_grads=True)
                torch.cat([*(g.reshape(K, -1) for g in gradients), tail], 1, out=stack.gradient)
                for block in frozen:
                    stack.gradient[:, block.offset : block.offset + block.size] = 0
                _note_failures(stack, stack.optimizer.step(stack.gradient))
                seen.append({name: term.detach() for name, term in terms.stored.items()})
            for name in seen[0]:
                total = torch.cat([terms[name] for terms in seen], 1).sum(1, dtype=torch.float64)
                sums[name] = sums[name] + total if name in sums else total
    return sums, rates


def _weights(stack: Stack) -> Weights:
    """Loss weights of this epoch: under warm-up, beta rises linearly from 0 at the first epoch."""
    column = lambda values: torch.tensor(values, dtype=torch.float32, device=stack.feed.device)[:, None]  # noqa: E731
    free = column([s.free_bits for s in stack.specs]) if stack.specs[0].free_bits > 0 else None
    beta, wx, wy = (
        column(values) for values in zip(*((beta_at(s, stack.epoch), s.wx, s.wy) for s in stack.specs), strict=True)
    )
    return Weights(beta, free, stack.specs[0].samples, wx, wy)


def beta_at(spec: Spec, epoch: int) -> float:
    """The weight of the rate in epoch 0, 1, ...: rises linearly over `warmup` epochs, then is `beta`.

    Epochs as an autoencoder come before, with weight 0.
    """
    epoch -= spec.pretrain_epochs
    if epoch < 0:
        return 0.0
    return spec.beta * min(1.0, epoch / spec.warmup) if spec.warmup else spec.beta


def _note_failures(stack: Stack, broken: list[int]) -> None:
    for k in broken:
        if stack.failures[k] is None:
            step = stack.optimizer.step_number
            stack.failures[k] = f"the gradient became non-finite in step {step} (epoch {stack.epoch + 1})"


@dataclasses.dataclass
class _Block:
    """Noise for some consecutive rows of every member's order."""

    rows: int
    samples: int
    normal: Tensor  # (K, rows, S, L)
    pixel: Tensor | None  # (K, rows, D)
    keep: Tensor | None  # (K, rows, units), already scaled by 1 / (1 - p)
    hidden: tuple[int, ...]

    def uniform(self, offset: int, size: int) -> Tensor | None:
        return None if self.pixel is None else self.pixel[:, offset : offset + size].flatten(0, 1)

    def batch(self, offset: int, size: int) -> Noise:
        normal = self.normal[:, offset : offset + size]  # (K, B, S, L)
        normal = normal.transpose(1, 2).flatten(1, 2) if self.samples > 1 else normal[:, :, 0]
        if self.keep is None:
            return Noise(normal)
        parts = self.keep[:, offset : offset + size].split([*self.hidden, *reversed(self.hidden)], -1)
        encoder, decoder = parts[: len(self.hidden)], parts[len(self.hidden) :]
        return Noise(normal, encoder, [p.repeat(1, self.samples, 1) for p in decoder])


def _noise_blocks(stack: Stack, n: int) -> Iterator[tuple[int, _Block]]:
    """Noise for an epoch's rows, in blocks whose size depends on the spec alone; each member from its generator."""
    spec, model, feed, K, B = stack.specs[0], stack.model, stack.feed, len(stack), stack.batch_size
    units = model.dropout_units if spec.dropout > 0 else 0
    per_row = model.latent * spec.samples + units + (feed.features if feed.units.needs_uniform else 0)
    block = max(B, NOISE_FLOATS // per_row // B * B)
    for start in range(0, n, block):
        rows = min(block, n - start)
        normal = torch.zeros(K, rows, spec.samples, model.latent, device=feed.device)
        keep = torch.empty(K, rows, units, device=feed.device) if units else None
        pixel = torch.empty(K, rows, feed.features, device=feed.device) if feed.units.needs_uniform else None
        for k, (s, g) in enumerate(zip(stack.specs, stack.generators, strict=True)):
            if not stack.is_autoencoder:  # else z is the mean
                own = torch.randn(rows, s.samples, s.latent_dim, generator=g, device=feed.device)
                normal[k, :, :, : s.latent_dim] = own
            if keep is not None:
                keep[k].uniform_(generator=g).ge_(s.dropout).div_(1 - s.dropout)
            if pixel is not None:
                pixel[k].uniform_(generator=g)
        yield start, _Block(rows, spec.samples, normal, pixel, keep, model.hidden)


def _close_epoch(stack: Stack, sums: dict[str, Tensor], rates: list[float]) -> list[Record]:
    """Validate, keep the best weights so far, and make the records."""
    n = len(stack.feed.data.splits["train"])
    train = [dict(zip(sums, means, strict=True)) for means in torch.stack(list(sums.values()), 1).div(n).tolist()]
    records, rows = [], stack.rows
    for k, (spec, judged) in enumerate(zip(stack.specs, stack.method.judge(stack, train), strict=True)):
        better = judged.target < stack.best_loss[k] and stack.epoch > min(spec.ramp, spec.epochs - 1)
        if better:
            stack.best_loss[k] = judged.target
            stack.best[k] = rows[k]
        if not math.isfinite(judged.target + sum(judged.train.values())) and stack.failures[k] is None:
            stack.failures[k] = f"the loss became non-finite in epoch {stack.epoch}"
        records.append(Record(stack.epoch, rates[k], judged.train, judged.validation, better, judged.beta))
    return records


class Variational:
    """How a VAE learns: by the evidence lower bound, the importance-weighted one, or another objective.

    `own` holds modules of the user's, in place of its encoder or decoder, for one member.
    """

    def __init__(self, own: Own | None = None, objective: Objective | None = None):
        self.own, self._objective = own, objective

    def key(self, spec: Spec, features: int) -> tuple[object, ...]:
        return stack_key(spec, features)

    def model(self, spec: Spec, feed: Feed) -> Model:
        return Model.for_spec(spec, feed.features, feed.likelihood, feed.condition, feed.grid, self.own)

    def initial(self, model: Model, spec: Spec, feed: Feed, generator: torch.Generator) -> Tensor:
        return model.initial(spec, feed.sample_rows(INITIAL_ROWS).cpu(), generator)

    def objective(self, spec: Spec) -> Objective:
        if self._objective is not None:
            return self._objective
        return elbo if spec.samples == 1 else importance_weighted

    def prepare(self, stack: Stack) -> None:
        """Between the phases the mixtures are fitted."""
        if stack.specs[0].prior == "mixture" and stack.epoch == stack.specs[0].pretrain_epochs:
            _fit_mixtures(stack)

    def blocks(self, stack: Stack, order: Tensor) -> Iterator[Iterator[Losses]]:
        weights = _weights(stack)
        for start, noise in _noise_blocks(stack, order.shape[1]):
            yield self._batches(stack, order[:, start : start + noise.rows], noise, weights)

    def _batches(self, stack: Stack, order: Tensor, noise: _Block, weights: Weights) -> Iterator[Losses]:
        for offset in range(0, noise.rows, stack.batch_size):
            rows = order[:, offset : offset + stack.batch_size]
            K, size = rows.shape
            x = stack.feed.gather(rows.reshape(-1), noise.uniform(offset, size))
            terms = stack.objective(
                stack.model, stack.in_training, x.view(K, size, -1), noise.batch(offset, size), weights
            )
            yield terms

    def frozen(self, stack: Stack) -> Sequence[Block]:
        """As an autoencoder a model could make features exact, and a density that learns its scale grow without end."""
        return [b for b in stack.model.layout if b.name.startswith("likelihood")] if stack.is_autoencoder else []

    def judge(self, stack: Stack, train: list[dict[str, float]]) -> list[Judged]:
        """The target is the member's own loss at full beta."""
        feed = stack.feed
        batches = feed.batches("validation", 1, VALIDATION_ROWS)
        validation = evaluate.mean_terms(stack.model, stack.views(stack.rows), stack.specs, batches, feed.log_jacobian)
        judged = []
        for spec, own, (distortion, rate) in zip(stack.specs, train, validation, strict=True):
            own["distortion"] += feed.log_jacobian
            judged.append(
                Judged(
                    {"neg_elbo": own["distortion"] + own["rate"], **own},
                    {"neg_elbo": distortion + rate, "distortion": distortion, "rate": rate},
                    distortion + spec.beta * rate,
                    beta_at(spec, stack.epoch - 1),
                )
            )
        return judged
