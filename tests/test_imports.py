"""Imports inside vaelab point one way. The table below is the architecture: a row may import from the rows above it.

`python tests/test_imports.py [SOURCE_FOLDER]` measures a house: its rooms, floors, arrows and circles.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import vaelab

ROOT = Path(vaelab.__file__).parent

# Rooms: the names that stand directly below vaelab. Those of one row do not import each other.
ROWS = (
    ("errors", "metrics", "origin", "signals", "version", "wording"),
    ("registry", "data", "store"),
    ("settings", "catalog"),
    ("engine", "plots", "report"),
    ("study",),
    ("vae",),
    ("supervised",),
    ("classifier", "regressor", "inverse", "latent", "comparison", "synthetic"),
    ("use",),
    ("api", "export"),
    ("__init__", "cli"),
    ("__main__",),
)
RANK = {room: rank for rank, row in enumerate(ROWS) for room in row}

# What options are checked by, before torch is imported, which takes seconds; with all that lies below them.
WITHOUT_TORCH = (
    "errors", "metrics", "origin", "signals", "wording", "registry", "settings", "data", "store", "catalog",
    "study.config", "study.task", "vae.spec", "vae.task", "vae.yardsticks", "classifier.task", "regressor.task",
    "comparison.lineup",
)  # fmt: skip

Graph = Mapping[str, set[str]]


class Import(NamedTuple):
    """A name that a module imports, or that it holds as a string: a registry's "vaelab.package.module:NAME".

    when: as the module is imported; later, in a function; or never, by type checkers alone and as a string.
    """

    target: str
    line: int
    when: Literal["first", "later", "never"]


def modules(root: Path) -> dict[str, Path]:
    """Path of every module, by its dotted name below vaelab ('' is vaelab itself)."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room(name: str) -> str:
    return name.split(".")[0] or "__init__"


def imports(path: Path, known: Mapping[str, Path]) -> Iterator[Import]:
    """Every import in a module, in whatever block it stands, and every string that names one of our modules."""

    def walk(node: ast.AST, when: Literal["first", "later", "never"]) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inner = when
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, when) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno} is a relative import; write it from vaelab on"
                yield from (Import(f"{child.module}.{alias.name}", child.lineno, when) for alias in child.names)
            elif isinstance(child, ast.Constant) and isinstance(child.value, str):
                home = child.value.partition(":")[0]
                if home.startswith("vaelab.") and home.removeprefix("vaelab.") in known:
                    yield Import(home, child.lineno, "never")
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                inner = "never"
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and when == "first":
                inner = "later"
            yield from walk(child, inner)

    return walk(ast.parse(path.read_text()), "first")


def inside(target: str, known: Mapping[str, Path]) -> str | None:
    """The module below vaelab that an imported name comes from, or None; `from vaelab import x` may name either."""
    if target != "vaelab" and not target.startswith("vaelab."):
        return None
    name = target.removeprefix("vaelab").removeprefix(".")
    while name not in known:
        name = name.rpartition(".")[0]
    return name


class House:
    """The modules of a source folder, and the imports by which each needs another."""

    def __init__(self, root: Path):
        self.root, self.modules = root, modules(root)
        self.imports = {name: list(imports(path, self.modules)) for name, path in self.modules.items()}

    def arrows(self) -> Iterator[tuple[str, str, Import]]:
        """A module, another one that it imports, and how.

        A package's door imports its rooms; a room that imports a neighbour passes by the door without needing it.
        """
        for name, found in self.imports.items():
            for own in found:
                other = inside(own.target, self.modules)
                if other is not None and other != name:
                    yield name, other, own

    def rooms(self) -> Graph:
        """The rooms that each room imports, whenever that is."""
        graph: dict[str, set[str]] = {room(name): set() for name in self.modules}
        for name, other, _ in self.arrows():
            graph[room(name)] |= {room(other)} - {room(name)}
        return graph

    def files(self) -> Graph:
        """The files that each file needs to do its work, at once or in a function.

        What type checkers alone read is never imported. A registry names what it offers, and each of these may need
        the registry, as the spec does for the names it allows; but to load, the registry needs none of them.
        """
        graph: dict[str, set[str]] = {name: set() for name in self.modules}
        for name, other, own in self.arrows():
            if own.when != "never":
                graph[name].add(other)
        return graph

    def place(self, name: str, line: int) -> str:
        return f"{self.modules[name].relative_to(self.root)}:{line}"


def reached(graph: Graph, start: str) -> set[str]:
    """All that can be reached from a node by one arrow or more: the node itself too if it is in a circle."""
    found, todo = set[str](), list(graph[start])
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += graph[node]
    return found


def circles(graph: Graph) -> list[list[str]]:
    """Groups of nodes each of which reaches all others of its group, and itself."""
    beyond = {node: reached(graph, node) for node in graph}
    groups = {frozenset(other for other in beyond[node] if node in beyond[other]) for node in graph}
    return sorted(sorted(group) for group in groups if group)


def floors(graph: Graph) -> int:
    """Nodes in the longest chain of arrows; a circle is on one floor."""
    beyond = {node: reached(graph, node) for node in graph}

    @functools.cache
    def height(node: str) -> int:
        return 1 + max((height(other) for other in graph[node] if node not in beyond[other]), default=0)

    return max(map(height, graph))


@functools.cache
def house() -> House:
    """vaelab's own; not while tests are collected, since every test process does that."""
    return House(ROOT)


def test_every_module_has_its_place_in_the_table() -> None:
    missing = sorted(house().rooms().keys() - RANK.keys())
    assert not missing, (
        f"{', '.join(missing)} has no row in ROWS of {Path(__file__).name}: put it below everything that it imports "
        "and above everything that imports it."
    )
    gone = sorted(RANK.keys() - house().rooms().keys())
    assert not gone, f"{', '.join(gone)} has a row in ROWS of {Path(__file__).name}, but is no module any more."


def test_imports_point_to_earlier_rows() -> None:
    wrong = [
        f"{house().place(name, own.line)} imports {own.target}"
        for name, other, own in house().arrows()
        if room(name) != room(other) and RANK[room(other)] >= RANK[room(name)]
    ]
    assert not wrong, (
        "these imports point upward or sideways:\n  "
        + "\n  ".join(wrong)
        + "\nMove the shared thing to an earlier row of ROWS, or pass it as an argument; change the table only if the "
        "architecture changes."
    )


def test_no_file_imports_itself_in_a_circle() -> None:
    assert not circles(house().files())


def test_rows_are_as_few_as_the_imports_allow() -> None:
    """So that no two rooms stand in rows of their own without a chain of imports between these."""
    assert floors(house().rooms()) == len(ROWS)


def loaded(starts: Iterable[str]) -> Iterator[tuple[str, Import]]:
    """Every import that runs when these modules are imported, and the module in which it stands."""
    todo, seen = list(starts), set[str]()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        if name:  # importing a module runs the doors of the packages around it
            todo.append(name.rpartition(".")[0])
        for own in house().imports[name]:
            if own.when == "first":
                yield name, own
                other = inside(own.target, house().modules)
                todo += [] if other is None else [other]


def test_what_checks_options_loads_without_torch() -> None:
    starts = [name for name in house().modules if f"{name}.".startswith(tuple(f"{start}." for start in WITHOUT_TORCH))]
    assert len(starts) > len(WITHOUT_TORCH)
    for name, own in loaded(starts):
        assert own.target.split(".")[0] != "torch", (
            f"{house().place(name, own.line)} imports torch, and {', '.join(WITHOUT_TORCH)} must load without"
        )


def test_numba_is_imported_only_to_train() -> None:
    """Neither the interfaces nor what reads runs may wait for it."""
    starts = [name for name in house().modules if "fused" not in name.split(".")]
    wanted = {place for place, own in loaded(["vae.fused.steps"]) if own.target.split(".")[0] == "numba"}
    assert wanted, "nothing imports numba, so this test would not notice"
    for name, own in loaded(starts):
        assert own.target.split(".")[0] != "numba", f"{house().place(name, own.line)} imports numba"


def test_circles_and_floors_by_hand() -> None:
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"b"}, "d": set(), "e": {"a", "d"}}
    assert circles(graph) == [["b", "c"]]
    assert floors(graph) == 4  # e, a, b or c, d


def main() -> None:
    measured = House(Path(sys.argv[1])) if len(sys.argv) > 1 else house()
    rooms, found = measured.rooms(), circles(measured.files())
    print(f"{len(rooms)} rooms: {', '.join(sorted(rooms))}")
    print(f"{floors(rooms)} floors")
    print(f"{sum(map(len, rooms.values()))} arrows between rooms")
    print(f"{len(found)} circles among {len(measured.modules)} files")
    for circle in found:
        print(f"  {', '.join(circle)}")


if __name__ == "__main__":
    main()
