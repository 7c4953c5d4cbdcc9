"""What a winner reaches on a split, and how well that is known: over the rows of the split, and over its seeds."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping
from typing import Any

from vaelab.settings.yardsticks import Yardstick
from vaelab.wording import error_only, with_error

ALONE = ("neg_elbo", "accuracy")  # the metric whose error is "se", in metrics without "errors"


def error_over_rows(metrics: Mapping[str, Any], name: str) -> float | None:
    """The standard error of a metric over the rows of its split; None where it is not known.

    >>> error_over_rows({"neg_elbo": 2.0, "rate": 1.0, "se": 0.5}, "neg_elbo"), error_over_rows({"se": 0.5}, "rate")
    (0.5, None)
    """
    error = (metrics.get("errors") or {name: metrics.get("se") if name in ALONE else None}).get(name)
    return None if error is None else float(error)


@dataclasses.dataclass(frozen=True)
class Reached:
    """A mean over seeds and its standard errors, None where unknown.

    The seeds share the rows, so that more seeds make the error over rows no smaller: what new rows would give is known
    no better than by the larger of both, however close together the seeds are.

    >>> found = Reached(42.702, 2, over_rows=0.37, over_seeds=0.0004)
    >>> str(found), found.kind
    ('42.7 ± 0.4', '± over rows, over seeds 0.0004')
    """

    mean: float | None
    seeds: int
    over_rows: float | None
    over_seeds: float | None

    @classmethod
    def of(cls, results: Mapping[str, Any], yardstick: Yardstick, split: str) -> Reached:
        """By the headline of a yardstick, from the results of a study with a winner."""
        best, name = results["best"], yardstick.headline
        seeds = best.get("seeds") or []
        first = {"mean": best.get(f"{split}_mean"), "se": best.get(f"{split}_se")}
        found = (results.get("means") or {name: {split: first}}).get(name, {}).get(split) or {}
        errors = [error_over_rows(seed.get(split) or {}, name) for seed in seeds]
        known = [error for error in errors if error is not None]
        return cls(found.get("mean"), len(seeds), statistics.fmean(known) if known else None, found.get("se"))

    @property
    def error(self) -> float | None:
        """The larger of both."""
        return max((each for each in (self.over_rows, self.over_seeds) if each is not None), default=None)

    @property
    def kind(self) -> str:
        """What ± is, and the other error; "" without any."""
        told = {"rows": self.over_rows, "seeds": self.over_seeds}
        known = sorted(((error, of) for of, error in told.items() if error is not None), reverse=True)
        parts = [f"± over {of}" if i == 0 else f"over {of} {error_only(error)}" for i, (error, of) in enumerate(known)]
        return ", ".join(parts)

    def __str__(self) -> str:
        return with_error(self.mean, self.error)
