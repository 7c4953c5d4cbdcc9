"""Parts of pages that are made from the code: settings, metrics, commands, and llms.txt.

In a page, a line `{{settings vae}}`, `{{yardsticks vae}}`, `{{commands}}` or `{{api}}` is replaced.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx

MARK = re.compile(r"^\{\{(\w+)(?: (\w+))?\}\}$", re.MULTILINE)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; cells are shown as they are.

    >>> print(table(["a"], [["x|y"]]))
    | a |
    |---|
    | x\\|y |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        ("|" + "|".join(row) + "|") if row[0] == "---" else "| " + " | ".join(_cell(cell) for cell in row) + " |"
        for row in lines
    )


def _cell(text: str) -> str:
    """Text as it is, but for code in backticks."""
    parts = re.split(r"(`[^`]+`)", " ".join(text.split()))
    return "".join(re.sub(r"[|<>*_$\[\]]" if i % 2 == 0 else r"[|]", r"\\\g<0>", part) for i, part in enumerate(parts))


def settings(kind: str) -> str:
    """Every setting of a kind of model."""
    from vaelab.cli.study import TASKS
    from vaelab.inverse.spec import settings_rows
    from vaelab.settings.spec import settings_table

    rows = settings_rows() if kind == "inverse" else settings_table(TASKS[kind].spec_type)
    return table(["setting", "default", "allowed", "meaning"], [(f"`{name}`", *others) for name, *others in rows])


def yardsticks(kind: str) -> str:
    """Every yardstick of a kind of model."""
    from vaelab.cli.study import TASKS
    from vaelab.inverse.yardsticks import YARDSTICKS

    known = YARDSTICKS if kind == "inverse" else TASKS[kind].yardsticks
    head, found = ["yardstick", "what it is", "unit", "direction"], [known[name] for name in known]
    rows = [(f"`{each.name}`", each.title, each.unit or "–", each.better) for each in found]
    if not any(each.how for each in found):
        return table(head, rows)
    return table([*head, "how it is measured"], [(*row, each.how) for row, each in zip(rows, found, strict=True)])


def commands(_: str) -> str:
    """Every command with its arguments and options, from the program itself."""
    from vaelab.cli.app import app

    group = typer.main.get_command(app)
    context = group.make_context("vaelab", ["settings"], resilient_parsing=True)
    return "\n\n".join(_command(group.commands[name], context) for name in group.list_commands(context))


def _command(command: Any, parent: Any) -> str:
    context = command.make_context(command.name, [], parent=parent, resilient_parsing=True)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"## {command.name}", command.help or "", f"```text\n{usage}\n```"]
    rows: dict[str, list[tuple[str, str]]] = {}
    for each in command.params:
        record = each.get_help_record(context)
        if record is not None:
            panel = getattr(each, "rich_help_panel", None) or each.param_type_name.capitalize()
            rows.setdefault(panel, []).append(record)
    for panel, found in rows.items():
        as_code = [(f"`{option}`", re.sub(r"(?<!\S)--[\w-]+", r"`\g<0>`", meaning)) for option, meaning in found]
        parts.append(table([panel, "meaning"], as_code))
    return "\n\n".join(parts)


def api(_: str) -> str:
    """Every public name, by what it is."""
    import vaelab

    kinds: dict[str, list[str]] = {"Functions": [], "Classes": []}
    for name in sorted(vaelab.__all__, key=str.lower):
        kinds["Classes" if inspect.isclass(getattr(vaelab, name)) else "Functions"].append(name)
    parts = []
    for title, names in kinds.items():
        parts.append(f"## {title}")
        for name in names:
            found = getattr(vaelab, name)
            directive = "autoclass" if inspect.isclass(found) else "autofunction"
            # By where it is defined, since vaelab itself imports names when they are asked for.
            home = f"{found.__module__}.{found.__qualname__}"
            members = "\n:members:" if directive == "autoclass" else ""
            parts.append(f"### {name}\n\n```{{eval-rst}}\n.. {directive}:: {home}\n{_indented(members)}\n```")
    return "\n\n".join(parts)


def _indented(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.splitlines() if line)


PARTS: dict[str, Callable[[str], str]] = {
    "settings": settings, "yardsticks": yardsticks, "commands": commands, "api": api,
}  # fmt: skip


def fill(_: Sphinx, name: str, source: list[str]) -> None:
    """Replace the marks of a page."""
    source[0] = MARK.sub(lambda mark: PARTS[mark[1]](mark[2] or ""), source[0])


def with_fields(_: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Arguments, written `name: meaning`, become fields, and what stands in single backticks is code."""
    lines[:] = [line if line.lstrip().startswith((">>>", "...")) else _as_rst(line) for line in lines]
    if not callable(found):
        return
    try:
        arguments = set(inspect.signature(found).parameters)
    except (TypeError, ValueError):
        return
    # Short ones may share a line.
    own = "|".join(sorted(arguments))
    lines[:] = re.sub(rf"(?<=\.) ({own}): ", r"\n\1: ", "\n".join(lines)).split("\n") if own else lines
    result: list[str] = []
    inside = False
    for line in lines:
        names = re.match(r"((?:\w+, )*\w+): (.+)", line)
        if names and set(names[1].split(", ")) <= arguments:
            if not inside and result and result[-1]:
                result.append("")
            # Sphinx takes what stands before a space for a type.
            result.append(f":param {names[1].replace(', ', ',')}: {names[2]}")
            inside = True
        else:
            if inside and line and not line.startswith(" "):
                if result[-1]:
                    result.append("")
                inside = False
            result.append(line)
    lines[:] = result


def _as_rst(line: str) -> str:
    r"""A line of a docstring, in which names may end with an underscore and shapes hold stars, which reStructuredText
    would take for links and emphasis.

    >>> print(_as_rst("`history_` of (n, *shape): see n_iter_"))
    ``history_`` of (n, \*shape): see n_iter\_
    """
    parts = re.split(r"(`+[^`]+`+)", line)
    return "".join(
        f"``{part.strip('`')}``" if part.startswith("`") else re.sub(r"(\w)(?=_(?!\w))|(?=\*)", r"\1\\", part)
        for part in parts
    )


def leave_out(_: Sphinx, what: str, name: str, found: Any, skip: bool, options: Any) -> bool | None:
    """Methods that estimators inherit are documented by scikit-learn."""
    return True if not getattr(found, "__module__", "vaelab").startswith("vaelab") else None


def write_llms(app: Sphinx, error: Exception | None) -> None:
    """llms.txt: every page with its title and first sentence, for programs that read documentation."""
    if error is not None or app.builder.format != "html":
        return
    env = app.env
    said = {name: _first_sentence(env.get_and_resolve_doctree(name, app.builder)) for name in _in_order(env)}
    root = app.config.root_doc
    lines = [f"# {env.titles[root].astext()}", "", f"> {said.pop(root)}", ""]
    lines += [f"- [{env.titles[name].astext()}]({name}.html): {text}" for name, text in said.items()]
    (Path(app.outdir) / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _in_order(env: Any, name: str = "index") -> list[str]:
    """The pages as the tables of contents name them."""
    return [name, *(below for page in env.toctree_includes.get(name, ()) for below in _in_order(env, page))]


def _first_sentence(page: Any) -> str:
    """Of the first paragraph that stands below a heading."""
    found = (node for node in page.findall(nodes.paragraph) if isinstance(node.parent, nodes.section))
    text = " ".join(next(found, nodes.paragraph()).astext().split()).removeprefix("Goal: ")
    return re.split(r"(?<=[.?:]) (?=[A-Z])", text)[0]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", fill)
    app.connect("autodoc-process-docstring", with_fields)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("build-finished", write_llms)
    return {"parallel_read_safe": True}
