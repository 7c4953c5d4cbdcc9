"""Imports inside vaelab point one way. The table below is the architecture: a row may import from the rows above it."""

import ast
from pathlib import Path

import vaelab

ROOT = Path(vaelab.__file__).parent

# Modules of one row do not import each other. A package (data, plots, report, study) is one entry.
LAYERS = (
    ("errors", "seeds", "wording", "yardsticks"),
    ("spec", "data", "noise", "networks", "kernels", "store", "probes", "mixture"),
    ("space", "likelihoods", "priors", "convolutions", "optimizers", "latent"),
    ("own",),
    ("model", "feed"),
    ("objectives", "evaluate", "modules"),
    ("pretraining",),
    ("training", "fitted"),
    ("plots", "report"),
    ("pictures", "outputs", "regret"),
    ("comparison_pictures", "cluster_pictures", "study_pictures"),
    ("classifier",),
    ("study",),
    ("inverse",),
    ("use",),
    ("api", "estimators", "terminal"),
    ("__init__",),
    ("cli_options",),
    ("cli_latent", "cli_study"),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}
NO_TORCH = ("errors", "spec", "space", "data", "latent")

Import = tuple[str, int, bool]  # what is imported, its line, and whether importing the module runs it


def modules():
    """Path of every module, by its dotted name below vaelab ('' is vaelab itself)."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def layer(name):
    """The table's entry for a dotted name below vaelab."""
    return name.split(".")[0] or "__init__"


def imports(name, path):
    """Every import in a module, in whatever block it stands."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def absolute(node):
        if not node.level:
            return node.module
        parts = ["vaelab", *filter(None, package.split("."))]
        return ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])

    def walk(node, runs):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, child.lineno, runs) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                yield from ((f"{absolute(child)}.{alias.name}", child.lineno, runs) for alias in child.names)
            lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from walk(child, runs and not lazy and not typing_only)

    return list(walk(ast.parse(path.read_text()), runs=True))


def inside(target, known):
    """The module below vaelab that an imported name comes from, or None; `from vaelab import x` may name either."""
    if target != "vaelab" and not target.startswith("vaelab."):
        return None
    name = target.removeprefix("vaelab").removeprefix(".")
    while name not in known:
        name = name.rpartition(".")[0]
    return name


def test_every_module_has_its_place_in_the_table():
    missing = sorted({layer(name) for name in modules()} - RANK.keys())
    assert not missing, (
        f"{', '.join(missing)} has no row in LAYERS of {Path(__file__).name}: put it below everything that it imports "
        "and above everything that imports it."
    )


def test_imports_point_to_earlier_rows():
    known, upward = modules(), []
    for name, path in known.items():
        for target, line, _ in imports(name, path):
            other = inside(target, known)
            if not other or layer(other) == layer(name) or not {layer(other), layer(name)} <= RANK.keys():
                continue
            if RANK[layer(other)] >= RANK[layer(name)]:
                upward.append(f"{path.relative_to(ROOT)}:{line} imports {target}")
    assert not upward, (
        "these imports point upward or sideways:\n  "
        + "\n  ".join(upward)
        + "\nMove the shared thing to an earlier row "
        "of LAYERS, or pass it as an argument; change the table only if the architecture changes."
    )


def test_no_module_imports_itself_in_a_circle():
    known = modules()
    graph = {}
    for name, path in known.items():
        found = {inside(target, known) for target, _, runs in imports(name, path) if runs}
        # A package's door imports its rooms; a room that imports a neighbour passes by the door without needing it.
        graph[name] = {other for other in found if other and other != name}
    done, path_now = set(), []

    def visit(name):
        assert name not in path_now, f"circle: {' -> '.join([*path_now[path_now.index(name) :], name])}"
        if name in done:
            return
        path_now.append(name)
        for other in sorted(graph[name]):
            visit(other)
        path_now.pop()
        done.add(name)

    for name in graph:
        visit(name)


def test_names_settings_and_data_load_without_torch():
    """Options are checked before torch is imported, which takes seconds; so nothing that these import may need it."""
    known = modules()
    start = [name for name in known if layer(name) in NO_TORCH]
    reached, todo = set(), [*start, ""]
    while todo:
        name = todo.pop()
        if name in reached:
            continue
        reached.add(name)
        for target, line, runs in imports(name, known[name]):
            if not runs:
                continue
            where = f"{known[name].relative_to(ROOT)}:{line}"
            assert target.split(".")[0] != "torch", (
                f"{where} imports torch, and {', '.join(NO_TORCH)} must load without"
            )
            other = inside(target, known)
            todo += [] if other is None else [other]
