"""One stacked optimizer: SGD, RMSprop, Adam and AdamW are one update with different constants per member."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vaelab.spec import Spec

BLOCK = 1 << 17  # floats per pass: parameter, gradient and moments of a block stay in the second-level cache


@dataclasses.dataclass(frozen=True)
class Rule:
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  p <- p - lr m^ / (use sqrt(v^) + eps).

    The hats divide by 1 - b^t where `unbias`. SGD has use = 0 and eps = 1. `decoupled` shrinks p by lr * decay
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


def schedule_factor(kind: str, step: int, steps: int) -> float:
    """The share of `lr` that step 0 <= step < steps uses.

    one-cycle rises by a cosine from 1/25 to 1 over the first 30 % of the steps and falls to 1e-4 / 25
    (Smith & Topin 2018); cosine falls from 1 to 0 (Loshchilov & Hutter 2017, eq. 5).

    >>> [round(schedule_factor("one-cycle", s, 101), 3) for s in (0, 30, 100)]
    [0.04, 0.999, 0.0]
    """
    if kind == "constant":
        return 1.0
    if kind == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / steps))
    position, peak = step / max(1, steps - 1), 0.3
    if position < peak:
        low, high, share = 0.04, 1.0, position / peak
    else:
        low, high, share = 1.0, 4e-6, (position - peak) / (1 - peak)
    return low + (high - low) * 0.5 * (1 - math.cos(math.pi * share))


class Optimizer:
    """Updates the (K, P) parameters of a stack in place; each member has its own rule, rate, decay and clip."""

    def __init__(self, specs: Sequence[Spec], parameters: Tensor, steps: int):
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
        self._clip = self._column([spec.clip for spec in self.specs])
        coupled = [0.0 if r.decoupled else d for r, d in zip(rules, decays, strict=True)]
        self._coupled = self._column(coupled) if any(coupled) else None
        self._decoupled = any(r.decoupled and d for r, d in zip(rules, decays, strict=True))

    def rates(self, step: int) -> list[float]:
        """Each member's learning rate at a step."""
        return [spec.lr * schedule_factor(spec.schedule, step, self.steps) for spec in self.specs]

    def _coefficients(self) -> tuple[Tensor, Tensor, Tensor]:
        """p -= m / (root * sqrt(v) + floor), with the rate and both bias corrections folded in; and the shrinkage."""
        t = self.step_number + 1
        root, floor, shrink = [], [], []
        for spec, rate in zip(self.specs, self.rates(self.step_number), strict=True):
            rule = RULES[spec.optimizer]
            per_rate = (1 - rule.b1**t if rule.unbias else 1.0) / rate
            root.append(rule.use * per_rate / (math.sqrt(1 - rule.b2**t) if rule.unbias else 1.0))
            floor.append(rule.eps * per_rate)
            shrink.append(1 - rate * spec.weight_decay if rule.decoupled else 1.0)
        return self._column(root), self._column(floor), self._column(shrink)

    def step(self, gradient: Tensor) -> Tensor:
        """One update by the gradient (K, P), which is overwritten. Returns which members had a finite one (K,).

        A member without stays as it is: its neighbours are untouched, and so are its last finite parameters.
        """
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        finite = torch.isfinite(norm)
        long = norm > self._clip
        if bool((long | ~finite).any()):
            gradient *= torch.where(long, self._clip / norm, torch.ones_like(norm))
            gradient.masked_fill_(~finite, 0)
        root, floor, shrink = self._coefficients()
        width = max(1, BLOCK // len(gradient))
        for p, g, m, v in zip(
            *(t.split(width, 1) for t in (self.parameters, gradient, self.first, self.second)), strict=True
        ):
            if self._decoupled:
                p.mul_(shrink)
            if self._coupled is not None:
                g.addcmul_(self._coupled, p)
            m.lerp_(g, self._b1)
            v.lerp_(g.mul_(g), self._b2)
            p.addcdiv_(m, torch.addcmul(floor, torch.sqrt(v, out=g), root), value=-1)
        self.step_number += 1
        return finite[:, 0]

    def select(self, members: Sequence[int], parameters: Tensor) -> None:
        """Keep only some members; `parameters` are theirs."""
        index = torch.tensor(members, device=self.first.device)
        self.first, self.second = self.first.index_select(0, index), self.second.index_select(0, index)
        self.specs, self.parameters = [self.specs[k] for k in members], parameters
        self._set_constants()
