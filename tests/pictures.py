"""Names that no picture may stumble over, made-up histories, and a check of the files."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

HOSTILE = [
    r"$\frac",
    r"$x_{1}$ costs $5",
    "<img onerror=alert(1)>",
    "two\nlines\ttab",
    "=cmd()",
    "x" * 65_000,
    "_^%#&{}\\",
    "\N{CJK UNIFIED IDEOGRAPH-4E00}\N{GRINNING FACE}\N{RIGHT-TO-LEFT OVERRIDE}\x00\ud800",
    "",
]


def blank(figure: Figure, file: BytesIO, **_: object) -> None:
    """What `Figure.savefig` does for tests that look at no picture: rendering takes most of the time."""
    Image.new("L", (8, 8)).save(file, "png")


def picture(path: Path) -> np.ndarray:
    """The pixels of a PNG, after checking that it is one of sensible size and not blank."""
    with Image.open(path, formats=("PNG",)) as image:
        pixels = np.asarray(image.convert("RGB")).copy()
    H, W, _ = pixels.shape
    assert W == 900
    assert 150 <= H <= 1200
    assert (pixels.min(2) < 200).mean() > 0.002, "blank"
    border = np.concatenate([pixels[:3].ravel(), pixels[-3:].ravel(), pixels[:, :3].ravel(), pixels[:, -3:].ravel()])
    assert border.min() > 250, "something is cut off at the border"
    return pixels


def record(epoch: int, train: float, validation: float | None) -> dict:
    terms = {"neg_elbo": train, "distortion": train - 5, "rate": 5.0}
    held = None if validation is None else {"neg_elbo": validation, "distortion": validation - 5, "rate": 5.0}
    return {"epoch": epoch, "lr": 1e-3, "train": terms, "validation": held}


def history(epochs: int = 20) -> list[dict]:
    return [record(e, 100 + 300 * math.exp(-e), 102 + 300 * math.exp(-e) + 0.02 * e) for e in range(1, epochs + 1)]
