"""The pictures common to all studies: the search history, and the front of two yardsticks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab import plots
from vaelab.settings.yardsticks import Yardstick


def draw_study(folder: Path, results: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int | None]:
    """Draws the search history into FOLDER/figures; returns the trials as plot input, and the winner.

    Plots take costs (lower is better) and show the yardstick's values.
    """
    yardstick = Yardstick.of(results)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    rows = [
        row
        | {
            "rungs": {int(k): yardstick.cost(v) for k, v in row["rungs"].items()},
            "value": None if row["value"] is None else yardstick.cost(row["value"]),
        }
        for row in results["table"]
    ]
    winner = results["best"]["number"] if results["best"] else None
    plots.plot_history(plots.history_data(rows, winner), figures / "history.png", yardstick=yardstick)
    both = Yardstick.both(results)
    if results["importance"]:  # empty with too few finished trials
        of = "the variation" if len(both) == 1 else f"the variation of the {yardstick.title}"
        plots.plot_importance(plots.importance_data(results["importance"]), figures / "importance.png", of=of)
    if len(both) > 1:  # without rungs
        plots.plot_front(plots.front_data(results), figures / "front.png", both)
    elif any(row["rungs"] for row in rows):  # a short training has none
        plots.plot_rungs(plots.rungs_data(rows, winner), figures / "rungs.png", yardstick=yardstick)
    return rows, winner
