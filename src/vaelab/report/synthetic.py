"""The page of synthetic rows: whether they can be told from real ones, and in what they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.report.captions import SYNTHETIC
from vaelab.report.data import data_section
from vaelab.report.page import Card, closing, figures, render
from vaelab.report.pictures import folder_pictures
from vaelab.report.tables import Cell, Row, Table
from vaelab.settings.spec import ModelSpec
from vaelab.store import read_object, write_atomic
from vaelab.wording import counted, number, percent, table_value, with_error

Json = Mapping[str, Any]
CLEAR = 2.0  # standard errors from which on a difference is called one
LETTERS = 12  # of a level in a cell
PICTURES = ("marginals", "associations", "nearest")


def build_synthetic_report(folder: str | Path, spec_type: type[ModelSpec]) -> Path:
    """Writes FOLDER/report.html from FOLDER/results.json and the pictures next to it.

    Raises StoreError where results.json is missing or damaged.
    """
    folder = Path(folder)
    results = read_object(folder / "results.json")
    missing: list[str] = []
    paths = {path.stem: [path] for path in folder_pictures(folder, PICTURES)}
    drawn = {
        name: figures(paths.get(name, []), "synthetic and test rows", missing, captions=SYNTHETIC) for name in PICTURES
    }
    page = render(
        "synthetic.html.jinja",
        title=str(results.get("name") or folder.resolve().name),
        headline=headline(results),
        course=[_source(results)],
        cards=_cards(results),
        figures=drawn,
        two_sample=_two_sample(results["two_sample"]),
        marginals=_marginals(results["marginals"]),
        associations=_associations(results["associations"]),
        largest=_largest(results["associations"]),
        usefulness=_usefulness(results["usefulness"]),
        nearest=_nearest(results["nearest"]),
        validity=_validity(results["validity"]),
        invalid=_invalid(results["validity"]),
        **data_section(results.get("data") or {}),
        **closing(folder, results, missing, spec_type),
    )
    return write_atomic(folder / "report.html", page)


def headline(results: Json) -> str:
    """The finding in one or two sentences."""
    found, rows = results["two_sample"], results["rows"]
    auc = {name: with_error(own["auc"], own["se"]) for name, own in found.items()}
    said = (
        f"Boosting {_verdict(found['synthetic'])} {rows['test']:,} test rows: AUC {auc['synthetic']}; training rows "
        f"have {auc['train']}."
    )
    more = found["synthetic_from_train"]
    if not _is_told(found["synthetic"]) and more["rows"] > found["synthetic"]["rows"] and _is_told(more):
        said += (
            f" It {_verdict(more)} {more['rows']:,} training rows, which are more: AUC {auc['synthetic_from_train']}."
        )
    valid = results["validity"]["valid"]
    return said if valid == 1 else f"{said} {percent(1 - valid, 1)} of the rows are invalid."


def _is_told(found: Json) -> bool:
    return bool(found["auc"] - 0.5 > CLEAR * found["se"])


def _verdict(found: Json) -> str:
    if not _is_told(found):
        return "cannot tell synthetic rows from"
    return "tells synthetic rows from" if found["auc"] >= 0.7 else "partly tells synthetic rows from"


def _source(results: Json) -> str:
    rows = results["rows"]
    where = (
        "drawn from the model; they are in synthetic.csv, next to this page"
        if results["source"] == "drawn"
        else f"from {results['source']}"
    )
    return (
        f"{counted(rows['synthetic'], 'synthetic row')}, {where}. They are compared with "
        f"{counted(rows['test'], 'test row')}; beside every figure is the same for {rows['train']:,} training rows: as "
        "close as real rows come."
    )


def _cards(results: Json) -> list[Card]:
    own, pairs, near = results["two_sample"]["synthetic"], results["associations"], results["nearest"]
    cards = [
        Card(
            "told from real rows", Cell.mean({"mean": own["auc"], "se": own["se"]}), "AUC of boosting; 0.5 is perfect"
        ),
        Card(
            "columns",
            Cell.of(_mean(results["marginals"], "distance"), _three),
            _beside(_mean(results["marginals"], "of_training"), "mean distance"),
        ),
    ]
    if pairs["difference"] is not None:
        cards.append(
            Card(
                "pairs",
                Cell.of(pairs["difference"], _three),
                _beside(pairs["of_training"], "mean difference of associations"),
            )
        )
    cards.append(Card("close rows", Cell.of(near["closer"]["synthetic"], lambda v: percent(v, 1)), _of_test(near)))
    cards.append(
        Card(
            "valid",
            Cell.of(results["validity"]["valid"], lambda v: percent(v, 1)),
            "rows whose cells all could be the table's",
        )
    )
    return cards


def _beside(value: float | None, what: str) -> str:
    return f"{what}; of training rows {_three(value)}"


def _of_test(near: Json) -> str:
    return f"nearer to a training row than {percent(1 - near['closer']['test'])} of test rows"


def _mean(rows: Any, key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return sum(values) / len(values) if values else None


def _two_sample(found: Json) -> Table:
    names = {
        "synthetic": "synthetic and test rows",
        "synthetic_from_train": "synthetic and training rows",
        "train": "training and test rows",
    }
    rows = [
        Row(
            [
                Cell(title),
                Cell.mean({"mean": found[name]["auc"], "se": found[name]["se"]}),
                Cell.of(found[name]["rows"]),
            ]
        )
        for name, title in names.items()
    ]
    return Table("Told apart", ["told apart", "AUC", "rows of each"], rows)


def _marginals(found: Any) -> Table:
    rows = []
    for own in sorted(found, key=lambda own: -(own["distance"] or 0.0)):
        cells = [Cell(own["column"]), Cell(own["kind"])]
        cells += [Cell.of(own[key], _three) for key in ("distance", "of_training")]
        rows.append(Row([*cells, *(Cell(_typical(own, part)) for part in ("test", "train", "synthetic"))]))
    heads = ["column", "kind", "distance", "of training rows", "test rows", "training rows", "synthetic rows"]
    return Table("Columns, real and synthetic", heads, rows)


def _typical(own: Json, part: str) -> str:
    """The mean and standard deviation, or the share of the most frequent level of test rows."""
    if own["kind"] == "date":
        return ""
    if "shares" in own:
        level = max(own["shares"]["test"], key=own["shares"]["test"].get)
        name = level if len(level) <= LETTERS else level[: LETTERS - 1] + "…"
        return f"{name}: {percent(own['shares'][part][level])}"
    mean, sd = own["mean"][part], own["sd"][part]
    return "–" if mean is None else f"{table_value(mean)}, sd {table_value(sd)}"


def _associations(found: Json) -> Table | None:
    if found["difference"] is None:
        return None
    rows = [
        Row([Cell("synthetic rows"), Cell.of(found["difference"], _three), Cell.of(found["pairs"])]),
        Row([Cell("training rows"), Cell.of(found["of_training"], _three), Cell.of(found["pairs"])]),
    ]
    return Table("Pairs", ["against test rows", "mean absolute difference", "pairs"], rows)


def _largest(found: Json) -> Table | None:
    if not found["largest"]:
        return None
    rows = [
        Row(
            [Cell(" and ".join(own["columns"])), *(Cell.of(own[name], _two) for name in ("test", "train", "synthetic"))]
        )
        for own in found["largest"]
    ]
    return Table("Largest differences", ["pair", "test rows", "training rows", "synthetic rows"], rows)


def _usefulness(found: Any) -> Table | None:
    if not found:
        return None
    rows = [
        Row(
            [
                Cell(own["column"]),
                Cell("accuracy" if own["measure"] == "accuracy" else "R²"),
                Cell.of(own["synthetic"], _three),
                Cell.of(own["real"], _three),
                _difference(own["difference"], own["se"]),
                Cell.of(own["chance"], _three),
            ]
        )
        for own in found
    ]
    return Table(
        "Learned from",
        ["predicted column", "measure", "from synthetic rows", "from training rows", "difference", "chance"],
        rows,
    )


def _nearest(found: Json) -> Table:
    names = {"synthetic": "synthetic rows", "test": "test rows"}
    rows = [
        Row(
            [
                Cell(title),
                Cell.of(found["median"][name]),
                Cell.of(found["closer"][name], lambda v: percent(v, 1)),
                Cell.of(found["copies"][name]),
                Cell.of(found["rows"][name]),
            ]
        )
        for name, title in names.items()
    ]
    heads = ["from", "median distance", f"closer than {number(found['close'])}", "copies", "rows"]
    return Table("Nearest training row", heads, rows)


def _validity(found: Json) -> list[str]:
    said = [
        f"{percent(found['valid'], 1)} of {counted(found['rows'], 'row')} hold only cells that the table could hold."
    ]
    if found["missing_cells"]:
        said.append(
            f"{counted(found['missing_cells'], 'cell')} {'is' if found['missing_cells'] == 1 else 'are'} missing."
        )
    beyond = found["beyond_training"]
    if beyond:
        some = ", ".join(f"{own['column']} ({own['cells']:,})" for own in beyond[:8]) + (
            ", ..." if len(beyond) > 8 else ""
        )
        said.append(f"Numbers beyond the lowest and highest of training rows: {some}; they are valid, but new.")
    return said


def _invalid(found: Json) -> Table | None:
    if not found["invalid"]:
        return None
    rows = [
        Row([Cell(own["column"]), Cell(own["must_be"]), Cell.of(own["cells"]), Cell(own["such_as"])])
        for own in found["invalid"]
    ]
    return Table("Invalid cells", ["column", "must be", "invalid cells", "such as"], rows)


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _difference(value: float, error: float) -> Cell:
    return Cell(f"{round(value, 3) + 0.0:+.3f}", json.dumps(value), json.dumps(error), f"± {error:.3f}")
