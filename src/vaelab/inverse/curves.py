"""Measurements that are curves, read by convolutions: they know a peak or a wave wherever it stands."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS, KERNEL, LAST = (16, 32), 5, 16  # of the first layer and of others; points that are left at most
HIDDEN, FEATURES = 64, 16


class CurveReader(nn.Module):
    """Features (n, 16) of curves y (n, outputs points), each value in units of its standard deviation in training.

    Convolutions of stride 2 until at most 16 points are left, then two dense layers.
    """

    def __init__(self, outputs: int, points: int):
        super().__init__()
        self.shape = (outputs, points)
        self.unit = nn.Buffer(torch.ones(outputs * points))
        layers: list[nn.Module] = []
        channels = outputs
        while points > LAST or not layers:
            following = CHANNELS[min(len(layers) // 2, 1)]
            layers += [nn.Conv1d(channels, following, KERNEL, 2, KERNEL // 2), nn.GELU()]
            channels, points = following, (points + 1) // 2
        dense = [nn.Linear(channels * points, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, FEATURES)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), *dense)

    def standardise(self, y: Tensor) -> None:
        """Take the units of training curves y (n, outputs points); 1 where they do not vary."""
        spread = y.double().std(0)
        self.unit.copy_(torch.where(spread > 0, spread, 1.0))

    def forward(self, y: Tensor) -> Tensor:
        found: Tensor = self.layers((y / self.unit).unflatten(1, self.shape))
        return found
