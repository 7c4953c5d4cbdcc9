"""The documentation's extensions: pages that run, and parts that are made from the code. Without building the pages."""

from __future__ import annotations

import doctest
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("sphinx")

from sphinx.errors import ExtensionError

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def live() -> Iterator[ModuleType]:
    sys.path.insert(0, str(DOCS / "extensions"))
    yield importlib.import_module("live")
    sys.path.remove(str(DOCS / "extensions"))


@pytest.fixture(scope="module")
def generated(live: ModuleType) -> ModuleType:
    return importlib.import_module("generated")


@pytest.fixture
def built(live: ModuleType, tmp_path: Path) -> Any:
    """What becomes of a page's text."""

    def build(text: str) -> str:
        config = SimpleNamespace(live_examples=str(DOCS.parent / "examples"))
        app = SimpleNamespace(doctreedir=tmp_path / "trees", srcdir=tmp_path, config=config)
        source = [text]
        live.run_page(app, "page", source)
        return source[0]

    return build


def test_what_python_prints_stands_below_it(built: Any) -> None:
    page = built("Text\n\n```python\nx = 20\n```\n\n```python\nprint('y')\nx + 1\n```\n\nMore\n")
    assert page == (
        "Text\n\n```python\nx = 20\n```\n\n```python\nprint('y')\nx + 1\n```\n\n```text\ny\n21\n```\n\nMore\n"
    )


def test_what_a_command_prints_stands_below_it(built: Any) -> None:
    page = built("```console\n$ vaelab settings --of regressor\n```\n")
    assert page.startswith("```console\n$ vaelab settings --of regressor\n```\n\n```text\nsetting ")
    assert page.endswith(" lines more\n```\n")


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("console\n$ vaelab settings --of nothing\n", "exit code 2"),
        ("console fails\n$ vaelab settings\n", "exit code 0"),
        ("console\n$ rm -r runs\n", "a console block holds commands"),
        ("python\n1 / 0\n", "division by zero"),
    ],
)
def test_a_page_with_a_block_that_does_not_do_what_it_should_is_not_built(built: Any, block: str, told: str) -> None:
    with pytest.raises(ExtensionError, match=told):
        built(f"```{block}```\n")


def test_a_refusal_is_shown(built: Any) -> None:
    page = built("```console fails\n$ vaelab settings --of regresor\n```\n")
    assert page.startswith("```console\n$ vaelab settings")
    assert "did you mean 'regressor'?" in page


def test_blocks_of_other_languages_are_only_shown(built: Any) -> None:
    text = "```sh\nfalse\n```\n\n```toml\nx = 1\n```\n"
    assert built(text) == text


def test_a_picture_that_was_made_is_kept_and_one_that_was_not_stops_the_build(built: Any, tmp_path: Path) -> None:
    made = "```python\nfrom pathlib import Path\nPath('runs').mkdir()\nPath('runs/a.png').write_bytes(b'a')\n```\n"
    assert "![A](/_made/page/runs-a.png)" in built(made + "![A](runs/a.png)\n")
    assert (tmp_path / "_made/page/runs-a.png").read_bytes() == b"a"
    with pytest.raises(FileNotFoundError):
        built(made + "![B](runs/b.png)\n")


def test_pages_see_the_examples_and_one_core(built: Any) -> None:
    page = built("```python\nimport os\nos.path.isfile('examples/patients.csv'), os.sched_getaffinity(0)\n```\n")
    assert "(True, {0})" in page


def test_examples_in_docstrings_of_the_extensions(live: ModuleType, generated: ModuleType) -> None:
    assert [doctest.testmod(module).failed for module in (live, generated)] == [0, 0]


@pytest.mark.parametrize("kind", ["vae", "classifier", "regressor", "inverse"])
def test_tables_name_every_setting_and_yardstick(generated: ModuleType, kind: str) -> None:
    from vaelab.cli.study import TASKS
    from vaelab.inverse.yardsticks import YARDSTICKS

    known = YARDSTICKS if kind == "inverse" else TASKS[kind].yardsticks
    rows = generated.yardsticks(kind).splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(known)
    settings = generated.settings(kind).splitlines()[2:]
    assert {"seed", "lr"} <= {row.split("`")[1] for row in settings}
    assert len({row.replace("\\|", "").count("|") for row in settings}) == 1


def test_arguments_in_docstrings_become_fields(generated: ModuleType) -> None:
    lines = ["One line.", "", "Of (n, *shape).", "x, y: two", "  numbers", "Raises `ValueError`."]
    generated.with_fields(None, "function", "f", lambda x, y: None, None, lines)
    assert lines == [
        "One line.", "", "Of (n, \\*shape).", "", ":param x,y: two", "  numbers", "", "Raises ``ValueError``.",
    ]  # fmt: skip


def test_arguments_may_share_a_line_and_examples_stay_as_they_are(generated: ModuleType) -> None:
    lines = ["x: one. y: two.", "", ">>> f(2 * x)"]
    generated.with_fields(None, "function", "f", lambda x, y: None, None, lines)
    assert lines == [":param x: one.", ":param y: two.", "", ">>> f(2 * x)"]


def test_a_page_is_told_by_the_first_sentence_below_its_title(generated: ModuleType) -> None:
    from docutils import nodes

    page, section = nodes.document(None, None), nodes.section()
    section += [nodes.table("", nodes.paragraph(text="Of a table.")), nodes.paragraph(text="Goal: to see. And more.")]
    page += section
    assert generated._first_sentence(page) == "to see."
