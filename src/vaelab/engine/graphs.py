"""A training step on static buffers: on a GPU one CUDA graph, replayed, since there a step of a small network takes as
long as its hundreds of launches.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from vaelab.engine.training import Batch, Stack

WARM_UP = 3  # steps before capture, in which libraries allocate what they keep
NEVER = torch.iinfo(torch.int64).max


class StaticStep:
    """The step of a stack for batches of one shape; sums and failures stay on the device until they are asked for."""

    def __init__(self, stack: Stack[Any, Any, Any], batch: Batch):
        self.stack = weakref.proxy(stack)  # which holds this step
        self.batch = [part.clone() for part in batch]
        K, like = len(stack), stack.parameters
        self.coefficients = like.new_zeros(3, K, 1)
        self.gradient = torch.empty_like(like)
        self.number = torch.zeros((), dtype=torch.int64, device=like.device)
        self.first_broken = torch.full((K,), NEVER, device=like.device)
        self.sums: dict[str, Tensor] = {}
        self.ended = -1  # the epoch of its last step
        self.graph: torch.cuda.CUDAGraph | None = None
        changed = stack.parameters, stack.statistics, stack.optimizer.first, stack.optimizer.second
        before = [tensor.detach().clone() for tensor in changed]
        self._rehearse()
        if like.device.type == "cuda":
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self._step()
        with torch.no_grad():
            for tensor, was in zip(changed, before, strict=True):
                tensor.copy_(was)

    def _rehearse(self) -> None:
        """Steps that the caller takes back, on a GPU in a stream of their own, as capture needs it."""
        stream = torch.cuda.Stream() if self.gradient.is_cuda else None
        if stream is not None:
            stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # without a stream this changes nothing
            for _ in range(WARM_UP):
                self._step()
        if stream is not None:
            torch.cuda.current_stream().wait_stream(stream)

    def _step(self) -> None:
        stack = self.stack
        losses = stack.method.losses(stack, tuple(self.batch))
        stack.differentiate(losses.loss, self.gradient)
        broken = stack.optimizer.step_unseen(self.gradient, *self.coefficients.unbind(0))
        self.first_broken.copy_(torch.where(broken, torch.minimum(self.first_broken, self.number), self.first_broken))
        self.number += 1
        for name, term in losses.stored.items():
            total = term.detach().sum(1, dtype=torch.float64)
            self.sums.setdefault(name, torch.zeros_like(total)).add_(total)

    def __call__(self, batch: Batch, coefficients: Tensor) -> None:
        """One step with this batch, and the optimizer's coefficients (3, K, 1)."""
        for mine, theirs in zip(self.batch, batch, strict=True):
            mine.copy_(theirs)
        self.coefficients.copy_(coefficients)
        if self.graph is None:
            self._step()
        else:
            self.graph.replay()

    def begin(self, epoch: int, number: int) -> None:
        """Start an epoch: sums are 0, and no step, counted from `number`, was broken."""
        self.ended = epoch
        self.number.fill_(number)
        self.first_broken.fill_(NEVER)
        for total in self.sums.values():
            total.zero_()
