"""One stacked optimizer: SGD, RMSprop, Adam and AdamW are one update with different constants per member."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.optim import adam

from vaelab.settings.spec import ModelSpec

Floats = npt.NDArray[np.float64]

RISE = 250  # steps
TABLE_STEPS = 1000  # coefficients computed ahead
FUSED_FROM = 1 << 16  # parameters per member above which PyTorch's fused kernel is faster than the stacked update


@dataclasses.dataclass(frozen=True)
class Rule:
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  p <- p - lr m^ / (use sqrt(v^) + eps).

    The hats divide by 1 - b^t if `unbias`. SGD has use = 0 and eps = 1. `decoupled` shrinks p by lr * decay
    instead of adding decay * p to the gradient. Constants are the defaults of torch.optim.
    """

    b1: float
    b2: float
    use: float = 1.0
    eps: float = 1e-8
    unbias: bool = False
    decoupled: bool = False


RULES = {
    "sgd": Rule(b1=0.0, b2=0.0, use=0.0, eps=1.0),
    "rmsprop": Rule(b1=0.0, b2=0.99),
    "adam": Rule(b1=0.9, b2=0.999, unbias=True),
    "adamw": Rule(b1=0.9, b2=0.999, unbias=True, decoupled=True),
}


def rule_of(spec: ModelSpec) -> Rule:
    """The update rule of a spec."""
    return RULES[spec.optimizer]


def _constant(steps: Floats, total: int) -> Floats:
    return np.ones(len(steps))


def _cosine(steps: Floats, total: int) -> Floats:
    """From 1 to 0 (Loshchilov & Hutter 2017, eq. 5)."""
    return 0.5 * (1 + np.cos(np.pi * steps / total))


def _one_cycle(steps: Floats, total: int) -> Floats:
    """Cosine from 1/25 to 1 over the first 30 % of the steps, then to 4e-6 (Smith & Topin 2018)."""
    position, peak = steps / max(1, total - 1), 0.3
    rise = 0.04 + 0.96 * 0.5 * (1 - np.cos(np.pi * position / peak))
    fall = 1 + (4e-6 - 1) * 0.5 * (1 - np.cos(np.pi * (position - peak) / (1 - peak)))
    return np.where(position < peak, rise, fall)


def _risen(steps: Floats, total: int) -> Floats:
    """1 after a linear rise over 250 steps, or a tenth of fewer: the first steps at full rate would undo what a mixture
    prior was fitted to.
    """
    return np.minimum(1, (steps + 1) / max(1, min(RISE, total // 10)))


SCHEDULES: dict[str, Callable[[Floats, int], Floats]] = {
    "averaged": _risen,  # and the weights are averaged: see training.Stack.blend
    "constant": _constant,
    "cosine": _cosine,
    "one-cycle": _one_cycle,
}


def schedule_factors(name: str, steps: Floats, total: int) -> Floats:
    """The share of `lr` that each of `steps`, from 0 to total - 1, uses.

    >>> schedule_factors("one-cycle", np.array([0, 30, 100]), 101).round(3)
    array([0.04, 1.  , 0.  ])
    """
    return SCHEDULES[name](steps, total)


class Optimizer:
    """Updates the (K, P) parameters of a stack in place; each member has its own rule, rate, decay and clipping."""

    def __init__(self, specs: Sequence[ModelSpec], parameters: Tensor, steps: int):
        self.specs, self.parameters, self.steps = list(specs), parameters, steps
        self.first, self.second = torch.zeros_like(parameters), torch.zeros_like(parameters)
        self.step_number = 0
        self._set_constants()

    def _column(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64).to(self.parameters)[:, None]

    def _set_constants(self) -> None:
        rules = [RULES[spec.optimizer] for spec in self.specs]
        decays = [spec.weight_decay for spec in self.specs]
        self._b1, self._b2 = self._column([1 - r.b1 for r in rules]), self._column([1 - r.b2 for r in rules])
        self._clips = [spec.clip for spec in self.specs]
        self._clip_column = self._column(self._clips)
        coupled = [0.0 if r.decoupled else d for r, d in zip(rules, decays, strict=True)]
        self._coupled = self._column(coupled) if any(coupled) else None
        self._decoupled = any(r.decoupled and d for r, d in zip(rules, decays, strict=True))
        self._table_start, self._rates = 0, np.empty((0, len(self.specs)))
        self._table: list[tuple[Tensor, ...]] | None = None

    def rates(self) -> list[float]:
        """Each member's learning rate at the next step."""
        row = self._row()
        return [float(rate) for rate in self._rates[row]]

    def _row(self, ahead: int = 1) -> int:
        """Index of the next step in the tables, which are computed for many steps at once: computing K numbers at
        every step would cost more than the update.
        """
        row = self.step_number - self._table_start
        if not 0 <= row <= len(self._rates) - ahead:
            self._tabulate(ahead)
            return 0
        return row

    def coefficients(self, steps: int) -> npt.NDArray[np.float32]:
        """Root, floor and shrink (see `_tabulate`) of each member at the next steps: (K, steps, 3)."""
        row = self._row(steps)
        return np.ascontiguousarray(self._columns[row : row + steps, :, :, 0].transpose(2, 0, 1), np.float32)

    def _tabulate(self, ahead: int) -> None:
        """Rates, and the coefficients of p -= m / (root * sqrt(v) + floor) after p *= shrink, each (K, 1).

        The rate and both bias corrections are folded into root and floor.
        """
        first = self.step_number
        steps = np.arange(float(first), max(min(first + TABLE_STEPS, self.steps), first + ahead))
        self._rates = np.empty((len(steps), len(self.specs)))
        columns = np.empty((len(steps), 3, len(self.specs), 1))
        for k, spec in enumerate(self.specs):
            rule, rate = RULES[spec.optimizer], spec.lr * schedule_factors(spec.schedule, steps, self.steps)
            per_rate = (1 - rule.b1 ** (steps + 1) if rule.unbias else 1.0) / rate
            self._rates[:, k] = rate
            columns[:, 0, k, 0] = rule.use * per_rate / (np.sqrt(1 - rule.b2 ** (steps + 1)) if rule.unbias else 1.0)
            columns[:, 1, k, 0] = rule.eps * per_rate
            columns[:, 2, k, 0] = 1 - rate * spec.weight_decay if rule.decoupled else 1.0
        self._columns, self._table_start, self._table = columns, first, None

    def step(self, gradient: Tensor) -> list[int]:
        """One update with the gradient (K, P), which is overwritten. Returns the members whose gradient is not finite.

        Such a member is not updated and keeps its last finite parameters; the others are not affected.
        """
        norms = torch.linalg.vector_norm(gradient, dim=1).tolist()
        broken: list[int] = []
        if not all(norm <= clip for norm, clip in zip(norms, self._clips, strict=True)):
            broken = self._clip(gradient, norms)
        if self.parameters.shape[1] < FUSED_FROM:
            self._update(gradient, slice(None), broken)
        else:
            for k in range(len(self.specs)):
                self._update_large(gradient, k, k in broken)
        self.step_number += 1
        return broken

    def step_unseen(self, gradient: Tensor, root: Tensor, floor: Tensor, shrink: Tensor) -> Tensor:
        """The same without asking the device for a number, so that it can be captured; coefficients (K, 1).

        Returns whether the gradient of each member is not finite, bool (K,).
        """
        norms = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        broken = ~torch.isfinite(norms)
        gradient.mul_((self._clip_column / norms).clamp_max(1.0))
        gradient.masked_fill_(broken, 0.0)
        floor, shrink = floor.masked_fill(broken, math.inf), shrink.masked_fill(broken, 1.0)
        self._apply(gradient, slice(None), root, floor, shrink)
        return broken[:, 0]

    def _update(self, gradient: Tensor, members: slice, broken: Sequence[int] = ()) -> None:
        """The rule for some members at once."""
        row = self._row()
        if self._table is None:
            self._table = [tuple(row.unbind(0)) for row in torch.from_numpy(self._columns).to(self.parameters)]
        root, floor, shrink = (column[members] for column in self._table[row])
        if broken:  # neither momentum nor decay may change such a member
            floor, shrink = floor.clone(), shrink.clone()
            floor[broken], shrink[broken] = math.inf, 1.0
        self._apply(gradient, members, root, floor, shrink)

    def _apply(self, gradient: Tensor, members: slice, root: Tensor, floor: Tensor, shrink: Tensor) -> None:
        b1, b2 = self._b1[members], self._b2[members]
        p, g, m, v = (t[members] for t in (self.parameters, gradient, self.first, self.second))
        if self._decoupled:
            p.mul_(shrink)
        if self._coupled is not None:
            g.add_(self._coupled[members] * p)
        m.lerp_(g, b1)
        v.lerp_(g.mul_(g), b2)
        # Via 1 / sqrt(v): PyTorch's sqrt is ten times slower with scattered zeros, as in padding.
        torch.div(root, torch.rsqrt(v, out=g), out=g)
        p.addcdiv_(m, g.add_(floor), value=-1)

    def _update_large(self, gradient: Tensor, k: int, is_broken: bool) -> None:
        """The rule for one member with many parameters: PyTorch's fused kernel, if available, needs a single pass.

        Its rows are contiguous, which that kernel requires but does not check.
        """
        spec = self.specs[k]
        if is_broken:
            return
        if not RULES[spec.optimizer].unbias:
            self._update(gradient, slice(k, k + 1))
            return
        rule = RULES[spec.optimizer]
        adam.adam(
            [self.parameters[k]],
            [gradient[k]],
            [self.first[k]],
            [self.second[k]],
            [],
            [torch.tensor(float(self.step_number))],
            fused=True,
            amsgrad=False,
            maximize=False,
            beta1=rule.b1,
            beta2=rule.b2,
            eps=rule.eps,
            lr=self.rates()[k],
            weight_decay=spec.weight_decay,
            decoupled_weight_decay=rule.decoupled,
        )

    def _clip(self, gradient: Tensor, norms: list[float]) -> list[int]:
        """Clip long gradients and zero non-finite ones; returns the members of the latter."""
        broken = [k for k, norm in enumerate(norms) if not math.isfinite(norm)]
        for k in broken:
            gradient[k] = 0
        factors = [
            clip / norm if math.isfinite(norm) and norm > clip else 1.0
            for norm, clip in zip(norms, self._clips, strict=True)
        ]
        gradient *= self._column(factors)
        return broken

    def select(self, members: Sequence[int], parameters: Tensor) -> None:
        """Keep only some members; `parameters` are theirs."""
        index = torch.tensor(members, device=self.first.device)
        self.first, self.second = self.first.index_select(0, index), self.second.index_select(0, index)
        self.specs, self.parameters = [self.specs[k] for k in members], parameters
        self._set_constants()
