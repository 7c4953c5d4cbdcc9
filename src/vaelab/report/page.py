"""What every page shares: reading its folder, pictures with captions, settings, the template with its one script."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from vaelab.errors import StoreError
from vaelab.report import words
from vaelab.report.pictures import Picture, load
from vaelab.report.tables import Cell
from vaelab.settings.latents import carriers
from vaelab.settings.spec import ModelSpec
from vaelab.settings.yardsticks import FINAL_DRAWS, SEARCH_DRAWS, VALIDATION_ROWS
from vaelab.store import commands
from vaelab.wording import number

HERE = Path(__file__).parent
SCRIPTS = (
    "core",
    "copy",
    "tables",
    "convolutions",
    "decoder",
    "rows",
    "latent",
    "colours",
    "controls",
    "pointer",
    "selection",
    "explorer",
    "plot",
    "search",
)

STYLES = ("style.css", "explorer.css")


@dataclass(frozen=True)
class Figure:
    """A picture with a caption that explains how to read it."""

    picture: Picture
    alt: str
    caption: str


@dataclass(frozen=True)
class Card:
    """A key metric with its name and unit."""

    name: str
    cell: Cell
    unit: str


def read_text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def inside(folder: Path, part: Any) -> Path | None:
    """`part` as a path in `folder`; None if it is not a name or leads out of the folder."""
    if not part:
        return None
    path = (folder / str(part)).resolve()
    return path if path.is_relative_to(folder.resolve()) else None


def figures(
    paths: Iterable[Path],
    subject: str,
    missing: list[str],
    *,
    thumbnail: bool = False,
    captions: Mapping[str, str],
) -> list[Figure]:
    """The readable pictures; the others are added to `missing`."""
    found = []
    for path in paths:
        picture = load(path, thumbnail=thumbnail)
        if picture is None:
            missing.append(f"{path.name} of {subject} could not be read and was left out.")
        else:
            alt = f"{path.stem.replace('_', ' ')} of {subject}"
            found.append(Figure(picture, alt, _caption(path.stem, captions)))
    return found


def _caption(stem: str, captions: Mapping[str, str]) -> str:
    """The caption of the picture of that name; numbered ones, such as latent_2, share a caption."""
    kind, _, number = stem.rpartition("_")
    return captions.get(stem) or (captions.get(kind, "") if number.isdigit() else "")


def finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _in_use(metrics: Mapping[str, Any]) -> str:
    """What active units are, and how many dimensions matter."""
    kl = [value for value in map(finite, metrics.get("kl") or []) if value is not None]
    n = carriers(kl)
    carry = f"; {n} carr{'ies' if n == 1 else 'y'} 95 % of the rate" if kl else ""
    return f"latent dimensions whose means vary at all{carry}"


def metric_cards(validation: Mapping[str, Any], test: Mapping[str, Any], whose: str = "") -> list[Card]:
    """The metrics of one model; `whose` says which of several."""
    cards = []
    for split, found in ("validation", validation), ("test", test):
        if found.get("neg_elbo") is not None:
            error = found.get("se")
            unit = f"nats per example, {FINAL_DRAWS} draws of z{'' if error is None else '; ± over rows'}"
            cards.append(Card(f"{split}{whose}", Cell.mean({"mean": found["neg_elbo"], "se": error}), unit))
    for name, unit in (("rate", "nats: information in z"), ("distortion", "nats: reconstruction error")):
        if validation.get(name) is not None:
            cards.append(Card(f"{name}{whose}", Cell.of(validation[name]), unit))
    if validation.get("active_units") is not None:
        cards.append(Card("active units", Cell.of(validation["active_units"]), _in_use(validation)))
    if validation.get("occupied_components") is not None:
        cards.append(
            Card("components", Cell.of(validation["occupied_components"]), "occupied components of the mixture prior")
        )
    if validation.get("verdict") is not None:
        verdict = str(validation["verdict"])
        cards.append(Card("verdict", Cell(verdict), str(validation.get("reason") or words.VERDICTS.get(verdict, ""))))
    return cards


def settings(
    spec: Mapping[str, Any], searched: Sequence[str], spec_type: type[ModelSpec], is_inverse: bool = False
) -> list[tuple[str, str, str, bool]]:
    """Name, value, meaning and "was it searched" of every setting of a spec that has an effect, given the others."""
    idle = spec_type.model_validate(spec).idle + (() if is_inverse else spec_type.of_inversion) if spec else ()
    return [
        (str(name), setting(str(name), value), meaning(str(name), spec_type), name in searched)
        for name, value in spec.items()
        if name not in idle or name in searched
    ]


def made_by(folder: Path, missing: list[str]) -> list[str]:
    """The commands or calls that made a folder; what could not be read is added to `missing`."""
    try:
        return commands(folder)
    except StoreError as error:
        missing.append(str(error))
        return []


def closing(folder: Path, results: Mapping[str, Any], missing: list[str], spec_type: type[ModelSpec]) -> dict[str, Any]:
    """The closing sections of a page: the model's settings, the configuration; and the notes."""
    return {
        "settings": settings(results.get("spec") or {}, [], spec_type),
        "config": read_text(folder / "config.toml"),
        "made_by": made_by(folder, missing),
        "notes": [*map(str, results.get("notes") or []), *missing],
    }


def setting(name: str, value: Any) -> str:
    """A setting's value for display; derived seeds have 19 digits and are not shown.

    >>> setting("lr", 0.002), setting("seed", 7), setting("seed", 2919813369553411398)
    ('0.002', '7', 'derived; in spec.json')
    """
    return "derived; in spec.json" if name == "seed" and isinstance(value, int) and value >= 2**32 else plain(value)


def meaning(name: str, spec_type: type[ModelSpec]) -> str:
    return spec_type.model_fields[name].description or "" if name in spec_type.model_fields else ""


def pairs(mapping: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(str(name).replace("_", " "), plain(value, commas=True)) for name, value in mapping.items()]


def plain(value: Any, limit: int = 600, commas: bool = False) -> str:
    """A JSON value as one line of text; `commas` group the digits of integers."""
    if isinstance(value, Mapping):
        text = ", ".join(f"{name}: {plain(item, commas=commas)}" for name, item in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(plain(item, commas=commas) for item in value) if value else "none"
    elif value is None:
        text = "–"
    elif commas and type(value) is int:
        text = f"{value:,}"
    else:
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def code(text: str) -> Markup:
    """Text whose parts between backticks are code; everything is escaped.

    >>> code("use `--group '<b>'`, or ` alone")
    Markup('use <code>--group &#39;&lt;b&gt;&#39;</code>, or ` alone')
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:  # the last one has no partner
        parts[-2:] = ["`".join(parts[-2:])]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def render(template: str, **content: Any) -> str:
    """The page. `content` may hold `explorer` and `search`, which become the data of the page's script."""
    parts = [(HERE / "js" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    script = '"use strict";\n(() => {\n' + "\n".join(parts) + "\n})();\n"
    style = "\n".join((HERE / name).read_text(encoding="utf-8") for name in STYLES)
    # The policy allows only our own script, by its digest: injected markup cannot run.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    trusted = {"style": Markup(style), "script": Markup(script), "script_digest": Markup(digest)}
    draws = {"search_draws": SEARCH_DRAWS, "final_draws": FINAL_DRAWS, "epoch_rows": f"{VALIDATION_ROWS:,}"}
    defaults: dict[str, Any] = {"explorer": None, "search": None, "settings": [], "beaten": "", **draws}
    defaults |= {"data_notes": [], "columns": None, "columns_listed": "", "left_out": [], "folded": 0}
    defaults |= {"table_figures": [], "imputation": None, "made_by": []}
    return _environment().get_template(template).render(**trusted, **defaults | content)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["code"] = code
    return environment
