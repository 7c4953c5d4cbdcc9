"""Pictures as other programs write them: pixels as a viewer shows them, or one line. The truth is what was drawn."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vaelab.data import load, new_rows, picture_files
from vaelab.data.images import read_pictures
from vaelab.errors import InputError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 250, (6, 5), np.uint8)  # 6 high, 5 wide
COLOUR = RNG.integers(0, 250, (6, 5, 3), np.uint8)
DEEP = RNG.integers(0, 4096, (6, 5)).astype(np.uint16)
FEW = RNG.integers(0, 3, (6, 5), np.uint8)  # of a palette
GREYS, COLOURS = [(9, 9, 9), (80, 80, 80), (200, 200, 200)], [(255, 0, 255), (10, 200, 30), (0, 0, 90)]
HOLE = np.zeros((6, 5), bool)
HOLE[:2, :3] = True  # transparent
ALPHA = np.where(HOLE, 0, 255).astype(np.uint8)
OPAQUE = np.full((6, 5, 1), 255, np.uint8)
HALF = np.full((6, 5, 1), 128, np.uint8)
WHITE = np.uint8(255)


def palette(colours):
    made = Image.fromarray(FEW).convert("L")
    made.putpalette(np.array(colours, np.uint8).ravel().tolist())
    return made


def turned(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def on_white(picture):
    return np.where(HOLE if picture.ndim == 2 else HOLE[..., None], WHITE, picture)


def merged(picture, alpha):
    return Image.fromarray(np.concatenate([picture.reshape(6, 5, -1), alpha.reshape(6, 5, 1)], -1))


def lit(colours, clear=None):
    shown = np.array(colours, np.uint8)
    if clear is not None:
        shown[clear] = 255
    found = shown[FEW]
    return found[..., 0] if (np.array(colours)[[j for j in range(3) if j != clear]].std(1) == 0).all() else found


# What is saved, how, what a viewer shows, and a part of the note on it.
SHOWN = {
    "grey": (Image.fromarray(GREY), "p.png", {}, GREY, ""),
    "colour": (Image.fromarray(COLOUR), "p.bmp", {}, COLOUR, ""),
    "one bit": (Image.fromarray(GREY > 100), "p.png", {}, np.where(GREY > 100, WHITE, np.uint8(0)), ""),
    "upper case": (Image.fromarray(GREY), "P.PNG", {}, GREY, ""),
    "opaque RGBA": (merged(COLOUR, OPAQUE), "p.png", {}, COLOUR, ""),
    "opaque LA": (merged(GREY, OPAQUE), "p.png", {}, GREY, ""),
    "RGBA": (merged(COLOUR, ALPHA), "p.png", {}, on_white(COLOUR), "have transparent parts, which are read as white"),
    "RGBA WebP": (merged(COLOUR, ALPHA), "p.webp", {"lossless": True, "exact": True}, on_white(COLOUR), "white"),
    "LA": (merged(GREY, ALPHA), "p.png", {}, on_white(GREY), "white"),
    "half transparent": (merged(COLOUR, HALF), "p.png", {}, np.round((COLOUR * 128.0 + 255 * 127) / 255), "white"),
    "grey with tRNS": (Image.fromarray(GREY), "p.png", {"transparency": int(GREY[0, 0])},
                       np.where(GREY[0, 0] == GREY, WHITE, GREY), "white"),
    "RGB with tRNS": (Image.fromarray(COLOUR), "p.png", {"transparency": tuple(COLOUR[0, 0].tolist())},
                      np.where((COLOUR[0, 0] == COLOUR).all(-1)[..., None], WHITE, COLOUR), "white"),
    "palette": (palette(COLOURS), "p.png", {}, lit(COLOURS), ""),
    "palette of greys": (palette(GREYS), "p.png", {}, lit(GREYS), ""),
    "palette with tRNS": (palette(COLOURS), "p.png", {"transparency": 0}, lit(COLOURS, 0), "white"),
    "greys and a clear colour": (palette([COLOURS[0], *GREYS[1:]]), "p.png", {"transparency": 0},
                                 lit([COLOURS[0], *GREYS[1:]], 0), "white"),
    "palette, tRNS by entry": (palette(COLOURS), "p.png", {"transparency": b"\xff\x00"}, lit(COLOURS, 1), "white"),
    "GIF": (palette(COLOURS), "p.gif", {}, lit(COLOURS), ""),
    "GIF with transparency": (palette(COLOURS), "p.gif", {"transparency": 2}, lit(COLOURS, 2), "white"),
    "16 bits PNG": (Image.fromarray(DEEP), "p.png", {}, DEEP, ""),
    "16 bits TIFF": (Image.fromarray(DEEP), "p.tif", {}, DEEP, ""),
    "float TIFF": (Image.fromarray(DEEP.astype(np.float32) / 7), "p.tiff", {}, DEEP.astype(np.float32) / 7, ""),
    "turned": (Image.fromarray(COLOUR), "p.png", {"exif": turned(6)}, np.rot90(COLOUR, -1), ""),
    "upside down": (Image.fromarray(GREY), "p.png", {"exif": turned(3)}, GREY[::-1, ::-1], ""),
    "turned TIFF": (Image.fromarray(GREY), "p.tif", {"exif": turned(8)}, np.rot90(GREY), ""),
    "turned and packed": (Image.fromarray(DEEP), "p.tif", {"exif": turned(6), "compression": "tiff_lzw"},
                          np.rot90(DEEP, -1), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_pixels_are_what_a_viewer_shows(tmp_path, name):
    picture, file, options, expected, note = SHOWN[name]
    picture.save(tmp_path / file, **options)
    raw = read_pictures(tmp_path / file)
    assert raw.x.shape == (1, *expected.shape)
    np.testing.assert_allclose(raw.x[0], expected, atol=1 if name == "half transparent" else 0)
    assert raw.ids == [file]
    assert bool(raw.notes) == bool(note)
    assert note.replace("have", "has") in "".join(raw.notes)


FRAMES = [Image.fromarray(RNG.integers(0, 256, (6, 5, 3), np.uint8)) for _ in range(3)]
REFUSED = {
    **{
        f"animated {ending}": (FRAMES[0], f"p.{ending}", {"save_all": True, "append_images": FRAMES[1:]}, "3 frames")
        for ending in ("gif", "webp", "png", "tif")
    },
    "CMYK": (Image.fromarray(COLOUR).convert("CMYK"), "p.jpg", {}, "is CMYK, whose colours depend on a profile"),
    "LAB": (Image.fromarray(COLOUR).convert("LAB"), "p.tif", {}, "is LAB"),
    "white on nothing": (merged(np.full((6, 5, 3), 255, np.uint8), ALPHA), "p.png", {}, "nothing is left to see of"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_single_picture_shows_is_refused_by_name(tmp_path, name):
    picture, file, options, reason = REFUSED[name]
    picture.save(tmp_path / file, **options)
    with pytest.raises(InputError) as caught:
        read_pictures(tmp_path / file)
    assert reason in str(caught.value)
    assert f"'{file}'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_camera_s_preview_beside_a_picture_is_no_frame(tmp_path):
    both = [Image.fromarray(COLOUR), Image.fromarray(COLOUR[:3, :2])]
    both[0].save(tmp_path / "p.jpg", format="MPO", save_all=True, append_images=both[1:])
    assert read_pictures(tmp_path / "p.jpg").x.shape == (1, 6, 5, 3)


def test_sixteen_bits_of_a_colour_are_told(tmp_path):
    """Pillow opens such a picture with the upper 8 bits; this one is written chunk by chunk."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    values = COLOUR.astype(">u2") * 257
    lines = b"".join(b"\0" + row.tobytes() for row in values)
    head = struct.pack(">IIBBBBB", 5, 6, 16, 2, 0, 0, 0)
    (tmp_path / "p.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )
    raw = read_pictures(tmp_path / "p.png")
    np.testing.assert_array_equal(raw.x[0], COLOUR)
    assert "1 of 1 picture has 16 bits per colour" in raw.notes[0]


# --- folders --------------------------------------------------------------------------------------


def save(folder, count=8, names="{}.png", picture=GREY):
    folder.mkdir(parents=True, exist_ok=True)
    made = [np.roll(picture, number, 0) + np.uint8(number // 6) for number in range(count)]
    for number, each in enumerate(made):
        Image.fromarray(each).save(folder / names.format(number))
    return np.stack(made)


def test_numbers_in_names_sort_by_value(tmp_path):
    x = save(tmp_path, 12, "img{}.png")
    data = load(tmp_path)
    np.testing.assert_array_equal(data.x, x)
    assert data.ids.tolist() == [f"img{number}.png" for number in range(12)]
    for name in ("10", "9"):
        save(tmp_path / "classes" / name)
    assert load(tmp_path / "classes").classes == ("9", "10")


def test_hidden_files_and_those_of_other_kinds_are_no_pictures(tmp_path):
    x = save(tmp_path)
    for name in (".DS_Store", "Thumbs.db", "._0.png", ".hidden.png", "labels.csv", "desktop.ini"):
        (tmp_path / name).write_bytes(b"\0\5\26\7")
    for folder in ("__MACOSX", ".thumbnails"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "._0.png").write_bytes(b"\0")
    (tmp_path / ".thumbnails" / "0.png").write_bytes(b"\0")
    data = load(tmp_path)
    np.testing.assert_array_equal(data.x, x)
    assert not data.notes
    (tmp_path / "photo.HEIC").write_bytes(b"\0")
    assert load(tmp_path).notes == ("1 picture is not read, such as 'photo.HEIC': save as .png.",)


def test_grey_among_coloured_pictures_and_for_a_model_of_them(tmp_path):
    x = save(tmp_path / "both", picture=COLOUR)
    Image.fromarray(GREY).save(tmp_path / "both" / "3.png")
    data = load(tmp_path / "both")
    np.testing.assert_array_equal(np.delete(data.x, 3, 0), np.delete(x, 3, 0))
    np.testing.assert_array_equal(data.x[3], np.stack([GREY] * 3, -1))
    assert data.notes == ("1 of 8 pictures is grey, and read as RGB like the others.",)
    new, ids, _ = new_rows(tmp_path / "both" / "3.png", data.shape, dtype_hint=data.x.dtype)
    np.testing.assert_array_equal(new, data.x[3].reshape(1, -1))
    assert ids.tolist() == ["3.png"]
    with pytest.raises(
        InputError, match=r"trained on grey, 4 wide and 6 high, but '3\.png' is grey, 5 wide and 6 high"
    ):
        new_rows(tmp_path / "both" / "3.png", (6, 4), dtype_hint="uint8")
    with pytest.raises(InputError, match=r"trained on grey, 5 wide and 6 high, but 'both' is RGB"):
        new_rows(tmp_path / "both", (6, 5), dtype_hint="uint8")


def test_folders_named_like_splits_are_splits(tmp_path):
    parts = [("train", "a"), ("train", "b"), ("val", "a"), ("val", "b"), ("test", "a"), ("test", "b")]
    for split, label in parts:
        save(tmp_path / "with" / split / label, 6)
        save(tmp_path / "without" / split, 6)
    data = load(tmp_path / "with")
    assert data.classes == ("a", "b")
    for split, folder in ("train", "train"), ("validation", "val"), ("test", "test"):
        assert {name.split("/")[0] for name in data.ids[data.splits[split]]} == {folder}
    assert [name.split("/")[1] for name in data.ids] == [data.classes[code] for code in data.labels]
    assert load(**data.source).fingerprint == data.fingerprint
    assert load(tmp_path / "without").labels is None
    assert len(load(tmp_path / "without").splits["validation"]) == 6
    assert load(tmp_path / "with" / "train").classes == ("a", "b")
    (tmp_path / "alone").mkdir()
    (tmp_path / "with" / "train").rename(tmp_path / "alone" / "train")
    assert load(tmp_path / "alone").classes == ("a", "b")
    assert load(tmp_path / "alone").ids[0] == "train/a/0.png"


def refusal(path):
    with pytest.raises(InputError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pictures_that_do_not_fit_are_named(tmp_path):
    save(tmp_path / "x" / "a")
    save(tmp_path / "x" / "b")
    bad = tmp_path / "x" / "b" / "3.png"
    whole = bad.read_bytes()
    for content, reason in (
        (b"", "'b/3.png' cannot be read as a picture: it is empty (0 bytes)"),
        (whole[:60], "'b/3.png' cannot be read as a picture: image file is truncated"),
        (b"<svg></svg>", "'b/3.png' cannot be read as a picture: its content is of another kind"),
    ):
        bad.write_bytes(content)
        assert reason in refusal(tmp_path / "x")
    Image.fromarray(GREY[:, :4]).save(bad)
    assert "'a/0.png' is grey, 5 wide and 6 high and 'b/3.png' is grey, 4 wide and 6 high" in refusal(tmp_path / "x")
    Image.fromarray(DEEP).save(bad)
    assert "'b/3.png' is grey of 16 bits, 5 wide and 6 high; save all of them in one way" in refusal(tmp_path / "x")
    bad.write_bytes(whole)
    save(tmp_path / "x" / "b" / "deeper")
    assert "'x' also has some in 'b/deeper'" in refusal(tmp_path / "x")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "photo.heic").write_bytes(b"\0")
    assert "such as 'photo.heic'; save them as .png" in refusal(tmp_path / "none")


def test_folders_are_counted_before_all_of_them_are_searched(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_files, "MOST_FOLDERS", 20)
    for k in range(7):
        (tmp_path / "b" / f"{k}" / "deep").mkdir(parents=True)
        (tmp_path / f"c{k}").mkdir()
    assert "at most 20 folders, but there are more, such as " in refusal(tmp_path)
