"""The data of the page's explorer: encoded positions of the examples, originals, and the decoder in 16 bits.

Points, labels and originals are shared by all models of a page; positions and weights are per
model. Binary parts are little-endian and base64.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vaelab.data import Dataset
from vaelab.data.dataset import SPLITS
from vaelab.errors import InputError, StoreError
from vaelab.report.explorer import Explore, Explorer
from vaelab.vae import conditions, point_colours
from vaelab.vae.decoder_export import decoder_data, packed
from vaelab.vae.fitted import Fitted
from vaelab.vae.pictures import active
from vaelab.vae.table_export import packed_rows, table_data
from vaelab.wording import counted

Array = npt.NDArray[Any]

POINTS, ORIGINALS = 70_000, 3_000
# Bytes before base64, for all models of a page together.
POINT_BYTES, ORIGINAL_BYTES, WEIGHT_BYTES = 2_250_000, 1_200_000, 2_400_000
RAW_BYTES = 24_000_000  # of originals, before their compression
TABLE_COLUMNS = 5_000  # limit for the names and originals of a table
LEAST_ORIGINALS = 20
CURVE = 16  # columns without names, from which on a row is drawn as a curve
ID_LETTERS = 500_000  # of the rows' names
NO_LABEL = "no label"  # is listed as a class


def explorer_of(data: Dataset) -> Explore:
    """Builds a page's explorer, for models trained on these data."""
    return functools.partial(_explore, data)


def _explore(data: Dataset, folders: Mapping[str, Path], test_is_open: bool, notes: list[str]) -> Explorer | None:
    """The explorer of the models in some run folders. Read errors go into `notes`.

    The test split is shown only if it was opened before: a page never opens it.
    """
    models = {}
    for name, folder in folders.items():
        try:
            fitted = Fitted.load(folder)
        except StoreError as error:
            notes.append(f"{name} is not in the explorer: {error}")
            continue
        if fitted.facts.shape == data.shape:
            models[name] = fitted
        else:
            notes.append(f"{name} is not in the explorer: it was trained on examples of a different shape.")
    if not models:
        return None
    try:
        found = explorer_data(models, data, SPLITS if test_is_open else SPLITS[:2])
    except InputError as error:
        notes.append(f"There is no explorer: {error}")
        return None
    return Explorer(_summary(found), found)


def explorer_data(models: Mapping[str, Fitted], data: Dataset, splits: Sequence[str] = SPLITS) -> dict[str, Any]:
    """The JSON-able data of the script, for trained models by name."""
    rows, split_of = _rows(data, splits)
    latents = {name: _Latents.of(fitted, data.flat[rows], active(fitted, data)) for name, fitted in models.items()}
    most = min(_most(latent, POINT_BYTES // len(models)) for latent in latents.values())
    labels = None if data.labels is None else data.labels[rows]
    keep = _stratified(labels, len(rows), most)
    rows, split_of, labels = rows[keep], split_of[keep], None if labels is None else labels[keep]
    classes = list(data.classes)
    if labels is not None and (labels < 0).any():
        labels = np.where(labels < 0, len(classes), labels)
        classes.append(NO_LABEL)
    low, high = _bounds(data)
    room = WEIGHT_BYTES
    parts = []
    for name, fitted in models.items():
        decoder, why = decoder_data(fitted, room)
        room -= 0 if decoder is None else 2 * decoder["size"]
        curves = not data.is_image and (fitted.spec.network == "conv" or _are_curves(data))
        shown = {"name": name, "decoder": decoder, "why": why, "curves": curves}
        parts.append(shown | {"scores": point_colours.scores(fitted, data.flat[rows])} | latents[name].as_dict(keep))
    columns, columns_left = ([], 0) if curves else point_colours.columns(data, rows)
    return {
        "data": data.name,
        "under": conditions.written(next(iter(models.values()))),
        "shape": list(data.shape),
        "classes": classes,
        "unlabelled": len(data.classes) if len(classes) > len(data.classes) else None,
        "table": None if data.is_image else table_data(data),
        "columns": columns,
        "columns_left": columns_left,
        "low": low,
        "high": high,
        "count": len(rows),
        "of": int(sum(len(data.splits[split]) for split in splits)),
        "rows": packed(rows, "<u4"),
        "ids": _ids(data, rows),
        "labels": None if labels is None else packed(labels, "u1" if len(classes) <= 255 else "<u2"),
        "splits": {"names": list(splits), "of": packed(split_of, "u1")},
        "originals": _originals(data, rows, labels),
        "models": parts,
    }


def _are_curves(data: Dataset) -> bool:
    """Whether the rows of a table are drawn as curves: they have many numbers, and none has a name."""
    kinds = {column.kind for column in data.columns}
    return not data.features and len(data.columns) >= CURVE and kinds <= {"real", "positive"}


def _summary(found: Mapping[str, Any]) -> str:
    shown, of = found["count"], found["of"]
    share = "" if shown == of else f" of {of:,}"
    splits = ", ".join(found["splits"]["names"])
    originals = found["originals"]
    kept = "" if originals is None or originals["count"] == shown else f"; {originals['count']:,} with their original"
    return f"{counted(shown, 'example')}{share} ({splits}){kept}."


def _rows(data: Dataset, splits: Sequence[str]) -> tuple[Array, Array]:
    """Row numbers in ascending order, at most POINTS of them, and the split of each."""
    rows = np.concatenate([data.splits[split] for split in splits])
    split_of = np.concatenate([np.full(len(data.splits[split]), i) for i, split in enumerate(splits)])
    order = np.argsort(rows)
    rows, split_of = rows[order], split_of[order]
    keep = _stratified(None if data.labels is None else data.labels[rows], len(rows), POINTS)
    return rows[keep], split_of[keep]


def _stratified(labels: Array | None, n: int, most: int) -> Array:
    """At most `most` of n positions in ascending order, evenly from each class."""
    if n <= most:
        return np.arange(n)
    order = np.arange(n) if labels is None else np.argsort(labels, kind="stable")
    return np.sort(order[np.arange(most) * n // most])


@dataclasses.dataclass(frozen=True)
class _Latents:
    """Posterior means (n, L) and, most active first, the dimensions in the page; the others are constant."""

    means: Array
    order: list[int]
    active: list[int]
    standard: bool  # whether the prior is the standard normal

    @classmethod
    def of(cls, fitted: Fitted, rows: Array, in_use: npt.NDArray[np.bool_]) -> _Latents:
        means, stds = fitted.encode(rows)
        # A model that diverged still gets a page: keep positions finite.
        means = np.clip(np.nan_to_num(means.astype(np.float64)), -1e6, 1e6)
        stds = np.clip(np.nan_to_num(stds.astype(np.float64)), 1e-30, 1e6)
        centre, unit = fitted.prior_moments
        kl = 0.5 * (((means - centre) / unit) ** 2 + (stds / unit) ** 2 - 1 - 2 * np.log(stds / unit))
        order = [int(k) for k in np.argsort(-kl.mean(0), kind="stable")]
        return cls(means, order, [k for k in order if in_use[k]], fitted.model.prior.is_standard)

    @property
    def held(self) -> list[int]:
        """Dimensions whose positions are in the page: all if that is cheap, else the active ones."""
        n, L = self.means.shape
        return self.order if 2 * n * L <= POINT_BYTES // 4 else self.active or self.order[:1]

    def as_dict(self, keep: Array) -> dict[str, Any]:
        held = self.held
        z = self.means[keep][:, held]
        low, high = z.min(0), z.max(0)
        span = np.where(high > low, high - low, 1)
        levels = np.round((z - low) / span * 65535)
        return {
            "dims": self.means.shape[1],
            "order": self.order,
            "active": self.active,
            "standard": self.standard,
            "fill": self.means.mean(0).tolist(),
            "points": {"dims": held, "low": low.tolist(), "span": span.tolist(), "of": packed(levels.T, "<u2")},
            "pca": _principal(self.means, held),
        }


def _most(latent: _Latents, budget: int) -> int:
    return max(1, budget // (2 * len(latent.held)))


def _principal(means: Array, held: Sequence[int]) -> dict[str, Any] | None:
    """Centre and first two principal axes of the dimensions in the page, beyond two dimensions."""
    if len(held) < 3:
        return None
    centre = means[:, held].mean(0)
    values, vectors = np.linalg.eigh(np.cov(means[:, held], rowvar=False))
    axes = vectors[:, [-1, -2]].T
    axes = axes * np.where(axes[np.arange(2), np.abs(axes).argmax(1)] < 0, -1, 1)[:, None]  # else the sign is arbitrary
    return {"centre": centre.tolist(), "axes": axes.tolist(), "shares": (values[[-1, -2]] / values.sum()).tolist()}


def _bounds(data: Dataset) -> tuple[list[float], list[float]]:
    """Values drawn as empty and full: for all pixels, or for each column."""
    if data.is_image:
        low, high = (0.0, 255.0) if data.is_8bit and data.statistics.range[1] > 1 else data.statistics.range
        return [float(low)], [float(high if high > low else low + 1)]
    low_of, high_of = data.statistics.low, data.statistics.high
    return low_of.tolist(), np.where(high_of > low_of, high_of, low_of + 1).tolist()


def _ids(data: Dataset, rows: Array) -> dict[str, Any] | None:
    """What the rows are called; None if they have no names, or the page has no room for them."""
    if data.ids is None:
        return None
    names = [str(name) for name in data.ids[rows].tolist()]
    return None if sum(map(len, names)) > ID_LETTERS else {"name": data.id_name, "of": names}


def _originals(data: Dataset, rows: Array, labels: Array | None) -> dict[str, Any] | None:
    """Some examples: images in 8 bits as tiles of one PNG, rows of a table in 16 bits."""
    size = math.prod(data.shape)
    if not data.is_image:
        most = min(ORIGINALS, ORIGINAL_BYTES // (2 * size))
        if size > TABLE_COLUMNS or most < min(LEAST_ORIGINALS, len(rows)):
            return None
        keep = _stratified(labels, len(rows), most)
        found = {"count": len(keep), "points": packed(keep, "<u4")}
        return found | packed_rows(data.flat[rows[keep]], data)
    if data.shape[2:] not in ((), (1,), (3,)):
        return None
    most = min(ORIGINALS, RAW_BYTES // size)
    while most >= 1:
        keep = _stratified(labels, len(rows), most)
        low, high = (np.asarray(bound) for bound in _bounds(data))
        values = data.flat[rows[keep]].astype(np.float64)
        levels = np.clip(np.round((values - low) / (high - low) * 255), 0, 255).astype(np.uint8)
        found = {"count": len(keep), "points": packed(keep, "<u4")}
        columns = math.ceil(math.sqrt(len(keep)))
        picture = _sprite(levels.reshape(len(keep), *data.shape), columns)
        if len(picture) <= ORIGINAL_BYTES:
            uri = "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
            return found | {"sprite": uri, "columns": columns}
        most = int(len(keep) * 0.95 * ORIGINAL_BYTES / len(picture))
    return None


def _sprite(images: Array, columns: int) -> bytes:
    """Images (n, H, W) or (n, H, W, C) as tiles of one PNG, row by row."""
    n, H, W = images.shape[:3]
    images = images.reshape(n, H, W, -1)
    lines = -(-n // columns)
    sheet = np.zeros((lines * columns, H, W, images.shape[3]), np.uint8)
    sheet[:n] = images
    sheet = sheet.reshape(lines, columns, H, W, -1).transpose(0, 2, 1, 3, 4).reshape(lines * H, columns * W, -1)
    buffer = io.BytesIO()
    Image.fromarray(sheet[..., 0] if sheet.shape[2] == 1 else sheet).save(buffer, format="PNG", compress_level=9)
    return buffer.getvalue()
