"""The parts of a trained model that leave: a module each, what goes in and what comes out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaelab import store, use
from vaelab.classifier.fitted import FittedClassifier
from vaelab.export.networks import Classifier, FlowSampler, Regressor, Sampler
from vaelab.inverse.fitted import Inverter
from vaelab.regressor.fitted import FittedRegressor
from vaelab.vae.fitted import DataFacts, Fitted
from vaelab.version import __version__

ROWS = 3  # of the example by which a module is traced


@dataclasses.dataclass(frozen=True)
class Part:
    """A module from named inputs to named outputs, with what each means, in the data's own units.

    example: inputs by which the module is traced; their first axis may have any length.
    about: further facts, JSON-able: columns, levels, classes.
    """

    name: str
    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    about: Mapping[str, Any]

    @property
    def described(self) -> dict[str, Any]:
        """What is written into its file."""
        shapes = [["n", *tensor.shape[1:]] for tensor in self.example]
        return {
            "vaelab": __version__,
            "part": self.name,
            "inputs": [
                {"name": name, "shape": shape, "type": str(tensor.dtype).removeprefix("torch."), "meaning": meaning}
                for (name, meaning), shape, tensor in zip(self.inputs.items(), shapes, self.example, strict=True)
            ],
            "outputs": [{"name": name, "meaning": meaning} for name, meaning in self.outputs.items()],
            **self.about,
        }


def parts_of(folder: str | Path, *, encoder: Any = None, decoder: Any = None) -> list[Part]:
    """The parts of the model of a folder: encoder and decoder of a VAE, a classifier, a regressor, or a sampler.

    encoder, decoder: the custom torch modules of the run, if any.

    >>> import vaelab
    >>> folder = getfixture("tmp_path") / "run"
    >>> _ = vaelab.train("digits", {"latent_dim": 2, "epochs": 1, "hidden": "8"}, figures=False, out=folder)
    >>> [part.name for part in parts_of(folder)]
    ['encoder', 'decoder']
    """
    folder = Path(folder)
    if (folder / "problem.json").is_file():
        return [_sampler(Inverter.load(folder, needs_forward=False))]
    kind = None if (folder / "mixture.json").is_file() else store.load_run(use.run_folder(folder)).data.get("kind")
    if kind == FittedClassifier.kind:
        return [_classifier(use.load_classifier(folder))]
    if kind == FittedRegressor.kind:
        return [_regressor(use.load_regressor(folder))]
    return _autoencoder(use.load(folder, encoder=encoder, decoder=decoder))


def _autoencoder(fitted: Fitted) -> list[Part]:
    facts, latent = fitted.facts, fitted.spec.latent_dim
    given = {"decoded_under": "typical conditions"} if fitted.is_conditional else {}
    z = torch.zeros(ROWS, latent, dtype=fitted.row.dtype)
    return [
        Part(
            "encoder", fitted.encoder, (_examples(facts, fitted.scaling.offset.dtype),), {"x": "examples"},
            {"mean": "mean of q(z|x), (n, latent_dim)", "std": "standard deviation of q(z|x)"}, _columns(facts),
        ),
        Part(
            "decoder", fitted.decoder, (z,), {"z": "points of the latent space"}, {"x": "E[x|z]"},
            {**_columns(facts), **given},
        ),
    ]  # fmt: skip


def _classifier(fitted: FittedClassifier) -> Part:
    example = _examples(fitted.facts, fitted.scaling.offset.dtype)
    about = {**_columns(fitted.facts), "classes": list(fitted.classes)}
    return Part(
        "classifier", Classifier(fitted), (example,), {"x": "examples"},
        {"probabilities": "p(c|x) (n, classes), in the order of classes"}, about,
    )  # fmt: skip


def _regressor(fitted: FittedRegressor) -> Part:
    module = Regressor(fitted)
    told = {"mean": f"mean of {fitted.predicts}", "lower": "lower end of the interval", "upper": "upper end"}
    about = {**_columns(fitted.facts), "target": fitted.predicts, "level": module.level}
    example = _examples(fitted.facts, fitted.scaling.offset.dtype)
    return Part("regressor", module, (example,), {"x": "examples"}, told, about)


def _sampler(inverter: Inverter) -> Part:
    problem = inverter.problem
    module = Sampler(inverter) if inverter.flow is None else FlowSampler(inverter)
    example = (
        torch.zeros(ROWS, *problem.y_shape, dtype=torch.float64),
        torch.zeros(ROWS, module.normals, dtype=torch.float64),
    )
    about = {"x_names": list(problem.x_names), "y_names": list(problem.y_names)}
    return Part(
        "sampler", module, example, {"y": "measurements", "normal": "independent draws of N(0, 1)"},
        {"x": "a draw of x ~ p(x|y) for each measurement"}, about,
    )  # fmt: skip


def _examples(facts: DataFacts, dtype: Any) -> Tensor:
    """Zeros in the shape of examples; float64 where offsets need the digits."""
    return torch.zeros(ROWS, *facts.shape, dtype=torch.float64 if dtype == np.float64 else torch.float32)


def _columns(facts: DataFacts) -> dict[str, Any]:
    """Names, kinds and levels of a table's columns; the number of each level is its cell's value in x."""
    if not facts.columns:
        return {"shape": list(facts.shape), "features": math.prod(facts.shape)}
    return {
        "columns": [
            {"name": column.name, "kind": column.kind}
            | ({"unit": "days since 1970-01-01"} if column.kind == "date" else {})
            | ({"levels": dict(zip(column.levels, column.values, strict=True))} if column.has_levels else {})
            for column in facts.columns
        ],
        "missing": "NaN",
    }
