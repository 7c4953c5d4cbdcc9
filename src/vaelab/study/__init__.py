"""Studies: cohorts of trials, rungs, workers that train them, and the study folder."""

import importlib
import sys
import warnings

if "IPython" in sys.modules:
    # Optuna imports this, which warns where a notebook lacks what draws its bars; vaelab's own are text.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        importlib.import_module("tqdm.auto")
