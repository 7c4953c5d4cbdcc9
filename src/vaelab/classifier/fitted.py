"""A trained classifier: probabilities, predictions, metrics; saved to and loaded from a run folder."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from vaelab.classifier import scores
from vaelab.classifier.feed import LabelledFeed
from vaelab.classifier.scores import Floats, Ints
from vaelab.classifier.spec import ClassifierSpec
from vaelab.data import Dataset
from vaelab.supervised.fitted import FittedSupervised
from vaelab.supervised.model import outputs_of
from vaelab.vae.fitted import DataFacts


class FittedClassifier(FittedSupervised):
    """One trained classifier, ready to use. Examples are in the data's own units.

    p(c|x) = softmax(logits(x) / T): the temperature T was fitted on validation. `row` (1, P) contains the parameters.
    """

    kind: ClassVar = "classifier"
    command: ClassVar = "classify"
    spec_type: ClassVar = ClassifierSpec
    extra_shapes: ClassVar = {"temperature": (1,)}

    @classmethod
    def of(cls, feed: LabelledFeed, spec: ClassifierSpec, row: Tensor, temperature: float) -> FittedClassifier:
        """The model whose parameters (P,) were trained on `feed`."""
        extras = {"temperature": np.full(1, temperature)}
        return cls(spec, DataFacts.of(feed.data), feed.units.scaling, row[None].clone(), extras)

    @property
    def temperature(self) -> float:
        return float(self.extras["temperature"][0])

    @property
    def classes(self) -> tuple[str, ...]:
        return self.facts.classes

    @property
    def outputs(self) -> int:
        return len(self.classes)

    @property
    def predicts(self) -> str:
        return f"{len(self.classes)} classes"

    def logits(self, x: Any) -> Floats:
        """(n, C) for examples x (n, *shape)."""
        return self.outputs_for(x)

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
        logits = outputs_of(self.model, self.parameters, feed.batches(split, 1))[0]
        return scores.metrics(logits, feed.codes(split), self.temperature, self.classes)
