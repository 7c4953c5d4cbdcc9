"""Images moved and mirrored at random, as a training sees them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

DRAWS = 3  # uniforms that an image takes: two moves and a flip


def augmented(images: Tensor, uniform: Tensor, shift: int, flip: bool, background: float) -> Tensor:
    """Images (n, H, W, C), each moved by up to `shift` pixels both ways and, every second one, mirrored.

    uniform: (n, 3) in [0, 1). What comes in at the edges is `background`.

    >>> image = torch.tensor([[1, 2], [3, 4]]).view(1, 2, 2, 1)
    >>> augmented(image, torch.tensor([[0.0, 0.5, 0.9]]), 1, False, 0)[0, :, :, 0]
    tensor([[0, 0],
            [1, 2]])
    """
    n, H, W, _ = images.shape
    if shift:
        down, across = (shift if H > 1 else 0), (shift if W > 1 else 0)  # a curve moves along itself
        around = functional.pad(images, (0, 0, across, across, down, down), value=background)
        windows = around.unfold(1, H, 1).unfold(2, W, 1)  # (n, 2 down + 1, 2 across + 1, C, H, W), a view
        rows, columns = (
            (uniform[:, i] * (2 * most + 1)).long().clamp_max(2 * most) for i, most in enumerate((down, across))
        )
        every = torch.arange(n, device=images.device)
        images = windows[every, rows, columns].permute(0, 2, 3, 1)
    if flip:
        images = torch.where((uniform[:, 2] < 0.5)[:, None, None, None], images.flip(2), images)
    return images
