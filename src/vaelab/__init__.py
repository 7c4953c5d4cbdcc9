"""vaelab finds, trains, explains and uses the variational autoencoder that fits your data."""

from __future__ import annotations

import importlib

from vaelab.version import __version__ as __version__

TYPE_CHECKING = False  # not of `typing`: under `python -m vaelab` a file of the working directory may have its name
if TYPE_CHECKING:
    from typing import Any

    from vaelab.api.cluster import cluster
    from vaelab.api.compare import compare
    from vaelab.api.invert import invert
    from vaelab.api.studies import classify, regress, tune
    from vaelab.api.synthetic import judge_synthetic
    from vaelab.api.train import train
    from vaelab.classifier.estimator import Classifier
    from vaelab.data import Dataset
    from vaelab.errors import InputError
    from vaelab.export import export_model
    from vaelab.inverse.estimator import ConditionalVAE
    from vaelab.latent import LatentMixture
    from vaelab.regressor.estimator import Regressor
    from vaelab.settings.space import Space
    from vaelab.study.ray_options import Ray
    from vaelab.use import drift, load, load_classifier, load_regressor, predict, score_anomalies
    from vaelab.vae.estimator import VAE
    from vaelab.vae.fitted import Fitted
    from vaelab.vae.spec import Spec

# Names are imported on first use: `import vaelab` loads neither torch nor scikit-learn.
_HOMES = {
    "Classifier": "vaelab.classifier.estimator",
    "ConditionalVAE": "vaelab.inverse.estimator",
    "VAE": "vaelab.vae.estimator",
    "Dataset": "vaelab.data",
    "Fitted": "vaelab.vae.fitted",
    "InputError": "vaelab.errors",
    "LatentMixture": "vaelab.latent",
    "Ray": "vaelab.study.ray_options",
    "Regressor": "vaelab.regressor.estimator",
    "Space": "vaelab.settings.space",
    "Spec": "vaelab.vae.spec",
    "classify": "vaelab.api.studies",
    "cluster": "vaelab.api.cluster",
    "compare": "vaelab.api.compare",
    "drift": "vaelab.use",
    "export_model": "vaelab.export",
    "invert": "vaelab.api.invert",
    "judge_synthetic": "vaelab.api.synthetic",
    "load": "vaelab.use",
    "load_classifier": "vaelab.use",
    "load_regressor": "vaelab.use",
    "predict": "vaelab.use",
    "regress": "vaelab.api.studies",
    "score_anomalies": "vaelab.use",
    "train": "vaelab.api.train",
    "tune": "vaelab.api.studies",
}

__all__ = [
    "VAE",
    "Classifier",
    "ConditionalVAE",
    "Dataset",
    "Fitted",
    "InputError",
    "LatentMixture",
    "Ray",
    "Regressor",
    "Space",
    "Spec",
    "classify",
    "cluster",
    "compare",
    "drift",
    "export_model",
    "invert",
    "judge_synthetic",
    "load",
    "load_classifier",
    "load_regressor",
    "predict",
    "regress",
    "score_anomalies",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vaelab' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
