"""Pages that run: every command and every line of Python of a page is executed while it is built, in its order, in a
folder of the page's own, and what was printed stands below. A page with a command that fails is not built.

In a page, ```console blocks hold commands after `$ `, ```console fails those that must be refused, ```python blocks
Python, of which the last expression is shown; other languages, such as ```sh, are only shown. `![text](runs/...)` shows
a picture that was made.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

FENCE = re.compile(r"^```(console fails|console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PICTURE = re.compile(r"!\[([^\]]*)\]\((runs/[^)]+)\)")
MOST_LINES = 30  # of what a command printed; the rest is left out, and it is said


class Page:
    """One page's folder, and the names that its Python has defined."""

    def __init__(self, folder: Path, examples: Path):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "examples").symlink_to(examples)
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "__main__"}

    def run(self, language: str, text: str) -> str:
        """What a block prints; ExtensionError if it fails."""
        # One core: no workers, whose imports take longer than the work.
        one = mock.patch.object(os, "sched_getaffinity", return_value={0}, create=True)
        with contextlib.chdir(self.folder), one:
            out = self._python(text) if language == "python" else _commands(text, 2 if "fails" in language else 0)
        return out.replace(str(self.folder), ".")

    def _python(self, text: str) -> str:
        out = io.StringIO()
        tree = ast.parse(text)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(out):
            exec(compile(tree, "<page>", "exec"), self.names)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), "<page>", "eval"), self.names)
                if value is not None:
                    print(repr(value))
        return out.getvalue()


def _commands(text: str, expected: int) -> str:
    """What the commands print, each of which must end with this exit code."""
    printed = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.startswith("$ vaelab "):
            raise ExtensionError(f"a console block holds commands `$ vaelab ...`, but got {line!r}")
        code, out = _vaelab(shlex.split(line.removeprefix("$ vaelab ")))
        if code != expected:
            raise ExtensionError(f"{line}\nended with exit code {code}:\n{out}")
        printed.append(out)
    return "\n".join(printed)


def _vaelab(arguments: list[str]) -> tuple[int, str]:
    """Exit code and output of a command, in this process, since a new one spends seconds on imports."""
    from vaelab.cli.main import main

    out, code = io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["vaelab", *arguments]),
        mock.patch.dict(os.environ, {"COLUMNS": "80", "NO_COLOR": "1"}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
    ):
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
    return code, out.getvalue()


def shortened(text: str) -> str:
    """The first lines of what was printed."""
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"... and {len(lines) - MOST_LINES} lines more"]
    return "\n".join(lines)


def run_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Put what its blocks print below them, and its pictures where Sphinx finds them."""
    text = source[0]
    if not FENCE.search(text):
        return
    page = Page(Path(app.doctreedir).parent / "made" / name, Path(app.config.live_examples))

    def with_output(block: re.Match[str]) -> str:
        try:
            printed = shortened(page.run(block[1], block[2]))
        except Exception as error:
            raise ExtensionError(f"{name}: {block[2]}: {error}") from error
        shown = f"```{block[1].split()[0]}\n{block[2]}```"
        return shown + (f"\n\n```text\n{printed}\n```" if printed else "")

    def with_picture(found: re.Match[str]) -> str:
        made = page.folder / found[2]
        kept = Path(app.srcdir) / "_made" / name / found[2].replace("/", "-")
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, kept)
        return f"![{found[1]}](/_made/{name}/{kept.name})"

    source[0] = PICTURE.sub(with_picture, FENCE.sub(with_output, text))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("live_examples", None, "env", types=str)
    app.connect("source-read", run_page)
    return {"parallel_read_safe": True}
