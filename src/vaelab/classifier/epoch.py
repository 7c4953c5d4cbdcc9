"""The random numbers of an epoch of classifier training."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vaelab.classifier.augment import COVERS, MOVES
from vaelab.classifier.feed import LabelledFeed
from vaelab.classifier.model import ClassifierModel
from vaelab.classifier.spec import ClassifierSpec
from vaelab.engine.training import NOISE_FLOATS, Stack

ClassifierStack = Stack[ClassifierSpec, LabelledFeed, ClassifierModel]


def noise_blocks(stack: ClassifierStack, n: int) -> Iterator[slice]:
    """An epoch's rows, in blocks for which noise is drawn at once; their size depends only on the spec."""
    B, block = stack.batch_size, NOISE_FLOATS // max(1, sum(_numbers(stack)))
    block = max(B, block // B * B)
    for start in range(0, n, block):
        yield slice(start, min(start + block, n))


def _numbers(stack: ClassifierStack) -> tuple[int, int]:
    """Uniforms per row for dropout, and for augmentation."""
    spec = stack.specs[0]
    moves = MOVES + (COVERS if spec.erase else 0) if spec.is_augmented else 0
    return stack.model.dropout_units if any(spec.dropouts) else 0, moves


def draw(stack: ClassifierStack, k: int, rows: int) -> tuple[Tensor, Tensor]:
    """A member's next uniforms for dropout (rows, units) and augmentation (rows, moves), by its own generator."""
    dropout, moves = (
        torch.empty(rows, count, device=stack.feed.device).uniform_(generator=stack.generators[k])
        for count in _numbers(stack)
    )
    return dropout, moves
