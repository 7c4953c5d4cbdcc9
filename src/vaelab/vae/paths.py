"""Paths between two points of a latent space."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vaelab.errors import InputError, shown
from vaelab.settings.checks import whole

Floats = npt.NDArray[np.float64]

MOST_FRAMES = 1000


def path(start: npt.ArrayLike, end: npt.ArrayLike, frames: int = 30, great_circle: bool = False) -> Floats:
    """Points (frames, L) from `start` to `end` (L,), both included, at t = 0, ..., 1: the straight line

        z_t = (1 - t) a + t b,

    or the arc of a great circle, on which points stay about as far from the centre as samples of the prior do,

        z_t = ((1 - t) |a| + t |b|) (sin((1 - t) w) a / |a| + sin(t w) b / |b|) / sin w,   w the angle between a and b.

    Raises InputError where the points differ in number of coordinates, or there is no one great circle through them.

    >>> path([1, 0], [0, 1], 3).tolist()
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    >>> path([2, 0], [0, 2], 3, great_circle=True).round(3).tolist()
    [[2.0, 0.0], [1.414, 1.414], [0.0, 2.0]]
    """
    whole("frames", frames, 2, MOST_FRAMES)
    a, b = (_point(name, z) for name, z in (("start", start), ("end", end)))
    if a.shape != b.shape:
        raise InputError(f"both ends of a path must have as many coordinates, but they have {len(a)} and {len(b)}.")
    t: Floats = np.linspace(0, 1, frames)[:, None]
    if not great_circle:
        return (1 - t) * a + t * b
    far_a, far_b = np.linalg.norm(a), np.linalg.norm(b)
    if min(far_a, far_b) == 0:
        raise InputError("there is no great circle through the centre of the latent space; take the straight line.")
    u, v = a / far_a, b / far_b
    angle = 2 * np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v))
    if np.pi - angle < 1e-6:
        raise InputError("opposite points have many great circles; take the straight line, or another end.")
    if angle < 1e-6:
        return (1 - t) * a + t * b
    arc = (np.sin((1 - t) * angle) * u + np.sin(t * angle) * v) / np.sin(angle)
    return np.asarray(((1 - t) * far_a + t * far_b) * arc, np.float64)


def _point(name: str, z: npt.ArrayLike) -> Floats:
    try:
        point: Floats = np.asarray(z, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"`{name}` must be the coordinates of a point, but got {shown(z)}.") from None
    if point.ndim != 1 or not point.size or not np.isfinite(point).all():
        raise InputError(f"`{name}` must be the finite coordinates of one point, but got {shown(z)}.")
    return point
