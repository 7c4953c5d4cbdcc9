"""`vaelab path`: what is decoded on the way from one point of a latent space to another."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pages import save, untrained
from vaelab import use
from vaelab.cli.app import app
from vaelab.data import Dataset, load
from vaelab.errors import InputError
from vaelab.vae.paths import path


def run(text: str, folder: Path) -> None:
    app(["path", str(folder), *text.split()], standalone_mode=False)


def test_an_animation_goes_from_a_point_to_a_row(tmp_path: Path, digits: Dataset) -> None:
    fitted = untrained(digits)
    folder, out = save(fitted, tmp_path / "run"), tmp_path / "path.gif"
    run(f"--from 0.5,-1 --to row:12 --frames 9 --out {out}", folder)
    end = fitted.encode(digits.x[[12]])[0][0]
    on_the_way = fitted.decode(np.linspace([0.5, -1], end, 9)).reshape(9, 8, 8)
    with Image.open(out) as film:
        assert (film.n_frames, film.size, film.info["loop"]) == (9, (224, 224), 0)
        for i in (0, 4, 8):
            film.seek(i)
            shown = np.asarray(film.convert("L"))[14::28, 14::28] / 255
            np.testing.assert_allclose(shown, on_the_way[i].clip(0, 1), atol=0.02)
    np.testing.assert_allclose(use.path(fitted, [0.5, -1], end, 9).reshape(9, 8, 8), on_the_way, atol=1e-6)


def test_the_path_of_a_table_is_a_row_per_point_and_no_animation(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    lines = [f"r{i};{i % 7}.5;{(i * i) % 11}.25" for i in range(60)]
    file.write_text("\n".join(["name;a;b", *lines]))
    data = load(file, id="name")
    folder = save(untrained(data, likelihood="gaussian"), tmp_path / "run")
    run(f"--from row:r7 --to 0,1 --frames 4 --great-circle --out {tmp_path / 'path.csv'}", folder)
    with (tmp_path / "path.csv").open(newline="") as lines_of:
        rows = list(csv.reader(lines_of, delimiter=";"))  # as in the table
    assert rows[0] == ["row", "a", "b"]
    assert len(rows) == 5
    with pytest.raises(InputError, match="no images"):
        run(f"--from row:r7 --to 0,1 --out {tmp_path / 'path.gif'}", folder)
    with pytest.raises(InputError, match="0 rows 'r99'"):
        run("--from row:r99 --to 0,1", folder)


def test_an_arc_keeps_its_distance_and_its_plane() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 6))
    b *= np.linalg.norm(a) / np.linalg.norm(b)
    arc = path(a, b, 11, great_circle=True)
    np.testing.assert_allclose(np.linalg.norm(arc, axis=1), np.linalg.norm(a))
    np.testing.assert_allclose(arc[[0, -1]], [a, b])
    steps = np.einsum("ij,ij->i", arc[1:], arc[:-1]) / (a @ a)
    np.testing.assert_allclose(np.arccos(steps), np.arccos(a @ b / (a @ a)) / 10)
    assert np.linalg.matrix_rank(np.vstack([a, b, arc]), tol=1e-9) == 2
    for start, end in (([0, 0], [0, 1]), ([1, 2], [-1, -2])):
        with pytest.raises(InputError, match="take the straight line"):
            path(start, end, great_circle=True)
    with pytest.raises(InputError, match="as many coordinates"):
        path([0, 1], [0, 1, 2])
