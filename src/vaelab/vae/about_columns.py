"""What results say of a table's columns: filled cells, conditions, and what drives what."""

from __future__ import annotations

from typing import Any

from vaelab.data import Dataset
from vaelab.vae.drivers import drivers
from vaelab.vae.fitted import Fitted
from vaelab.vae.imputation_quality import quality_of
from vaelab.vae.leakage import leakage


def about_columns(model: Fitted | None, data: Dataset) -> dict[str, Any]:
    """For the results of a study or a run; None where there is nothing to say. Reads training and validation rows."""
    return {
        "imputation": quality_of(model, data),
        "leakage": leakage(model, data),
        "drivers": drivers(model, data),
    }
