"""PNG files as data URIs, within the page's size budget."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

THUMBNAIL = 480  # pixels wide
MAX_PIXELS = 40_000_000


@dataclass(frozen=True)
class Picture:
    """One picture of the page."""

    name: str  # the file's stem, such as "losses"
    uri: str
    width: int
    height: int


def load(path: Path, *, thumbnail: bool = False) -> Picture | None:
    """The picture in `path`, reduced to 64 colours for a thumbnail; None if it is not a valid PNG."""
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                return None
            if not thumbnail or width <= THUMBNAIL:
                image.verify()  # checksums only; decoding takes ten times as long
            else:
                height = max(1, round(height * THUMBNAIL / width))
                width = THUMBNAIL
                content = _shrink(image, width, height)
    except (UnidentifiedImageError, OSError, SyntaxError):
        # What Pillow raises on a damaged file; the page lists missing pictures.
        return None
    encoded = base64.b64encode(content).decode("ascii")
    return Picture(path.stem, f"data:image/png;base64,{encoded}", width, height)


def _shrink(image: Image.Image, width: int, height: int) -> bytes:
    small = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS).quantize(64)
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def folder_pictures(folder: Path, order: tuple[str, ...]) -> list[Path]:
    """The PNG files in FOLDER/figures: those named in `order` first, then the others by name."""
    found = {path.stem: path for path in sorted((folder / "figures").glob("*.png")) if path.is_file()}
    named = [found.pop(name) for name in order if name in found]
    return [*named, *found.values()]
