"""The random numbers of an epoch of training with a target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from vaelab.engine import draws
from vaelab.engine.training import NOISE_FLOATS, Stack
from vaelab.supervised.augment import COVERS, MOVES
from vaelab.supervised.model import SupervisedModel
from vaelab.supervised.spec import SupervisedSpec

SupervisedStack = Stack[Any, Any, SupervisedModel]  # settings and rows: those of each kind of model


def noise_blocks(stack: SupervisedStack, n: int) -> Iterator[slice]:
    """An epoch's rows, in blocks for which noise is drawn at once; their size depends only on the spec."""
    spec, B = stack.specs[0], stack.batch_size
    per_row = (stack.model.dropout_units if any(spec.dropouts) else 0) + _moves(spec)
    block = max(B, NOISE_FLOATS // max(1, per_row) // B * B)
    for start in range(0, n, block):
        yield slice(start, min(start + block, n))


def _moves(spec: SupervisedSpec) -> int:
    """Uniforms per row for augmentation."""
    return MOVES + (COVERS if spec.erase else 0) if spec.is_augmented else 0


def draw(stack: SupervisedStack, k: int, rows: int) -> tuple[Tensor, Tensor]:
    """A member's next words for dropout (rows, units) and uniforms for augmentation (rows, moves)."""
    spec, generator = stack.specs[k], stack.generators[k]
    dropped = draws.words(rows, sum(spec.hidden_sizes) if any(spec.dropouts) else 0, generator)
    return dropped, torch.empty(rows, _moves(spec), device=generator.device).uniform_(generator=generator)
