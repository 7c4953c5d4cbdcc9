"""Augmentation: images shifted, mirrored and partly erased at random."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MOVES, COVERS = 3, 5  # uniforms per image: two shifts and a flip; and those of `covered`
LEAST, NARROWEST = 0.02, 0.3  # of the erased rectangle: least share of the image; narrowest aspect ratio


def augmented(images: Tensor, uniform: Tensor, shift: int, flip: bool, background: float) -> Tensor:
    """Images (n, H, W, C), each shifted by up to `shift` pixels along both axes and mirrored with probability 1/2.

    uniform: (n, 3) in [0, 1). Edges are filled with `background`.

    >>> image = torch.tensor([[1, 2], [3, 4]]).view(1, 2, 2, 1)
    >>> augmented(image, torch.tensor([[0.0, 0.5, 0.9]]), 1, False, 0)[0, :, :, 0]
    tensor([[0, 0],
            [1, 2]])
    """
    n, H, W, _ = images.shape
    if shift:
        down, across = (shift if H > 1 else 0), (shift if W > 1 else 0)  # a curve shifts along its axis
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


def covered(uniform: Tensor, H: int, W: int, most: float) -> Tensor:
    """Masks of erased pixels (n, H, W): a rectangle of up to a share `most` of the area, with probability 1/2.

    Its area is uniform from LEAST to `most`; height by width log-uniform from NARROWEST to its inverse; its
    position uniform within the image. uniform: (n, 5) in [0, 1). (Zhong et al. 2020, algorithm 1.)
    """
    whether, share, proportion, down, across = uniform.unbind(1)
    area = H * W * (min(LEAST, most) + (most - min(LEAST, most)) * share)
    height = (area * NARROWEST ** (2 * proportion - 1)).sqrt().round().clamp(1, H)
    width = (area / height).round().clamp(1, W)
    inside = (whether < 0.5)[:, None, None]
    for axis, (side, length, place) in enumerate(((H, height, down), (W, width, across))):
        first = (place * (side - length + 1)).floor()[:, None]
        pixels = torch.arange(side, device=uniform.device)
        along = (pixels >= first) & (pixels < first + length[:, None])  # (n, side)
        inside = inside & along.unsqueeze(2 - axis)
    return inside
