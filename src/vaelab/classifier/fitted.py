"""A trained classifier: probabilities, predictions, metrics; saved to and loaded from a run folder."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaelab import store
from vaelab.classifier import scores
from vaelab.classifier.feed import LabelledFeed, units_of
from vaelab.classifier.learning import logits_of
from vaelab.classifier.model import ClassifierModel
from vaelab.classifier.scores import Floats, Ints
from vaelab.classifier.spec import ClassifierSpec
from vaelab.data import Dataset, Scaling, rows_for
from vaelab.data.cells import check_levels
from vaelab.data.values import refuse_missing
from vaelab.engine.encoding import Encoding
from vaelab.engine.rows import as_tensor, grid_of
from vaelab.errors import InputError, StoreError
from vaelab.vae.fitted import Array, DataFacts, scaling_arrays, take_scaling

FARTHEST = 20  # standard deviations from the mean beyond which images must have been scaled differently
KIND = "classifier"  # marks the run of a classifier in data.json


class FittedClassifier:
    """One trained classifier, ready to use. Examples are in the data's own units.

    p(c|x) = softmax(logits(x) / T): the temperature T was fitted on validation. `row` (1, P) contains the parameters.
    """

    def __init__(
        self,
        spec: ClassifierSpec,
        facts: DataFacts,
        scaling: Scaling,
        row: Tensor,
        temperature: float = 1.0,
        folder: Path | None = None,
    ):
        self.spec, self.facts, self.scaling, self.folder = spec, facts, scaling, folder
        self.row, self.temperature = row, temperature
        self.units = units_of(scaling, row.device)

    def __repr__(self) -> str:
        widths = (*(self.spec.channels if self.spec.network == "conv" else ()), *self.spec.hidden_sizes)
        layers = f"{self.spec.network} {'-'.join(map(str, widths)) or 'linear'}"
        where = f", {str(self.folder)!r}" if self.folder else ""
        return f"FittedClassifier({self.facts.name}, {layers}, {len(self.classes)} classes{where})"

    @classmethod
    def of(cls, feed: LabelledFeed, spec: ClassifierSpec, row: Tensor, temperature: float) -> FittedClassifier:
        """The model whose parameters (P,) were trained on `feed`."""
        return cls(spec, DataFacts.of(feed.data), feed.units.scaling, row[None].clone(), temperature)

    def double(self) -> FittedClassifier:
        """The same model in float64, whose results do not depend on which rows are computed together."""
        return FittedClassifier(self.spec, self.facts, self.scaling, self.row.double(), self.temperature, self.folder)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.facts.classes

    @functools.cached_property
    def model(self) -> ClassifierModel:
        return _model(self.spec, self.facts, self.scaling)

    @property
    def parameters(self) -> dict[str, Tensor]:
        return self.model.views(self.row)

    @property
    def parameter_count(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.model.own_shapes(self.spec).values())

    def rows(self, x: Any) -> Array:
        """New examples as checked rows (n, D) in the data's own units; columns of a table are selected by name."""
        facts = self.facts
        rows = rows_for(x, facts.shape, dtype_hint=facts.dtype, columns=facts.columns, reading=facts.reading)
        if self.scaling.typed is not None:
            check_levels(rows, self.facts.columns, "X")
        else:
            refuse_missing(rows, self.facts.features, "train on a table with missing values")
        self._check_scale(rows)
        return np.ascontiguousarray(rows)

    def _check_scale(self, rows: Array) -> None:
        """Reject 8-bit images whose values are far outside the range of the training images."""
        if len(self.facts.shape) < 2 or self.facts.dtype == "uint8" or rows.dtype != np.uint8:
            return
        mean, std, highest = float(self.scaling.offset[0]), float(self.scaling.scale[0]), int(rows.max())
        if highest > mean + FARTHEST * std:
            raise InputError(
                f"the model was trained on images with values of {mean:.3g} ± {std:.3g}, but 8-bit ones with up to "
                f"{highest} were given; scale them as in training, such as by 1 / 255."
            )

    def logits(self, x: Any) -> Floats:
        """(n, C) for examples x (n, *shape)."""
        batches = self.units.batches(as_tensor(self.rows(x)).to(self.row.device), 1)
        own: Floats = logits_of(self.model, self.parameters, batches)[0]
        return own

    def predict_proba(self, x: Any) -> Floats:
        """p(c|x) (n, C) for examples x (n, *shape), at the temperature fitted on validation."""
        return scores.probabilities(self.logits(x), self.temperature)

    def predict(self, x: Any) -> Ints:
        """The code (n,) of each example's most likely class, an index into `classes`."""
        answers: Ints = self.logits(x).argmax(1)
        return answers

    def evaluate(self, data: Dataset, split: str) -> dict[str, Any]:
        """All metrics on one split of a labelled data set."""
        feed = LabelledFeed(data, self.spec, self.scaling)
        logits = logits_of(self.model, self.parameters, feed.batches(split, 1))[0]
        return scores.metrics(logits, feed.codes(split), self.temperature, self.classes)

    def save(
        self,
        folder: Path,
        history: Sequence[Mapping[str, Any]],
        metrics: Mapping[str, Any],
        overwrite: bool = False,
    ) -> FittedClassifier:
        """Write the run folder atomically; returns this model with that folder."""
        arrays = {n: w.float().cpu().numpy() for n, w in self.model.unpad(self.row[0], self.spec).items()}
        arrays["temperature"] = np.full(1, self.temperature)
        arrays |= scaling_arrays(self.scaling)
        facts = dataclasses.asdict(self.facts) | {"kind": KIND}
        store.save_run(
            folder, spec=self.spec.model_dump(), data=facts, arrays=arrays, history=history, metrics=metrics,
            overwrite=overwrite,
        )  # fmt: skip
        return FittedClassifier(self.spec, self.facts, self.scaling, self.row, self.temperature, folder)

    @classmethod
    def load(cls, folder: str | Path) -> FittedClassifier:
        """Read a run folder; raises StoreError that names any problem. The model is on the CPU."""
        run = store.load_run(folder)
        if run.data.get("kind") != KIND:
            raise StoreError(f"{run.folder} is not the run of a classifier; train one with `vaelab classify`.")
        spec, facts = ClassifierSpec.create(**run.spec).replace(device="cpu"), DataFacts.from_dict(run.data)
        arrays = dict(run.weights)
        scaling = take_scaling(arrays, facts.columns)
        model = _model(spec, facts, scaling)
        expected: dict[str, Any] = {
            name: (shape, "float32")
            for name, shape in [*model.own_shapes(spec).items(), *((b.name, b.shape) for b in model.statistics)]
        }
        store.check_arrays(arrays, expected | {"temperature": ((1,), "float64")}, run.folder)
        temperature = float(arrays.pop("temperature")[0])
        row = model.pad({name: torch.from_numpy(array) for name, array in arrays.items()}, spec)
        return cls(spec, facts, scaling, row[None], temperature, run.folder)


def _model(spec: ClassifierSpec, facts: DataFacts, scaling: Scaling) -> ClassifierModel:
    features = int(np.prod(facts.shape)) if scaling.kept is None else len(scaling.kept)
    if scaling.typed is not None:
        features = Encoding(scaling.typed).width
    return ClassifierModel.for_spec(spec, features, len(facts.classes), grid_of(facts.shape, scaling))
