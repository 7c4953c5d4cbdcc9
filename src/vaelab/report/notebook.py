"""What a notebook shows of a result: the head of its page and the first figures."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

FIGURES = 4  # which are shown; the page has all
LARGEST = 3 << 20  # of what is shown, in bytes: it is kept in the notebook
STYLE = (
    "<style>"
    ".vaelab-result{font-family:sans-serif;max-width:60em}.vaelab-result .headline{font-size:1.1em}"
    ".vaelab-result .cards{display:flex;flex-wrap:wrap;gap:1em;margin:0}"
    ".vaelab-result .cards dd{margin:0}.vaelab-result .cards strong{display:block;font-size:1.3em}"
    ".vaelab-result .figures{display:flex;flex-wrap:wrap;gap:1em;margin-top:1em}"
    ".vaelab-result figure{margin:0;max-width:28em}.vaelab-result img{max-width:100%;height:auto}"
    ".vaelab-result .made,.vaelab-result .scale{display:none}"
    "</style>"
)


class Paged:
    """A result with a folder, in one line; a notebook shows the folder's page, or its main metrics without one."""

    folder: Path

    @property
    def main_metrics(self) -> Mapping[str, str]:
        """What a result is worth at a glance: text by name."""
        return {}

    def __repr__(self) -> str:
        told = (f"{name}: {value}" for name, value in self.main_metrics.items())
        return f"{type(self).__name__}({', '.join([repr(str(self.folder)), *told])})"

    def _repr_html_(self) -> str:
        return inline(self.folder) or head(self.folder, type(self).__name__, self.main_metrics)


def inline(folder: Path) -> str | None:
    """The head and the first figures of the page in a folder; None where there is no page.

    >>> folder = getfixture("tmp_path")
    >>> inline(folder) is None
    True
    >>> page = '<header><h1>digits</h1></header><figure><img src="data:,x"></figure><section></section>'
    >>> _ = (folder / "report.html").write_text(page)
    >>> inline(folder).partition("</style>")[2].partition("<p>")[0]
    '<header><h1>digits</h1></header><div class="figures"><figure><img src="data:,x"></figure></div>'
    """
    path = folder / "report.html"
    if not path.is_file():
        return None
    page = path.read_text(encoding="utf-8")
    head = re.search(r"<header>.*?</header>", page, re.DOTALL)
    figures: list[str] = []
    size = 0
    for figure in re.findall(r"<figure\b[^>]*>(?:(?!</figure>).)*?<img\b.*?</figure>", page, re.DOTALL):
        size += len(figure)
        if len(figures) == FIGURES or size > LARGEST:
            break
        figures.append(figure)
    shown = f'<div class="figures">{"".join(figures)}</div>' if figures else ""
    told = f"<p>The whole page is <code>{html.escape(str(path))}</code>.</p>"
    return f'<div class="vaelab-result">{STYLE}{head[0] if head else ""}{shown}{told}</div>'


def head(folder: Path, kind: str, metrics: Mapping[str, str]) -> str:
    """What stands for a page that there is not.

    >>> head(Path("runs/a"), "Study", {"trials": "16"}).partition("</style>")[2].partition("<p>")[0]
    '<header><h1>Study a</h1><dl class="cards"><div><dt>trials</dt><dd><strong>16</strong></dd></div></dl></header>'
    """
    cards = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd><strong>{html.escape(value)}</strong></dd></div>"
        for name, value in metrics.items()
    )
    shown = f'<header><h1>{kind} {html.escape(folder.name)}</h1><dl class="cards">{cards}</dl></header>'
    told = f"<p>All files are in <code>{html.escape(str(folder))}</code>.</p>"
    return f'<div class="vaelab-result">{STYLE}{shown}{told}</div>'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain table of text.

    >>> table(["x", "misfit"], [["<1>", "0.1"]])
    '<table><tr><th>x</th><th>misfit</th></tr><tr><td>&lt;1&gt;</td><td>0.1</td></tr></table>'
    """
    lines = ["".join(f"<th>{html.escape(head)}</th>" for head in heads)]
    lines += ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
