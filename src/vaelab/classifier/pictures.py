"""The pictures of one trained classifier: on the test split if it was opened, else on validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vaelab import store
from vaelab.classifier.fitted import FittedClassifier
from vaelab.data import Dataset
from vaelab.plots import classifier as plots
from vaelab.plots.dataset import viewable
from vaelab.plots.labels import confusion_data, plot_confusion
from vaelab.plots.learning import learning_data, plot_learning

MISTAKES = 24


def draw_run(model: FittedClassifier, data: Dataset, name: str) -> list[Path]:
    """Learning curves, calibration, confusion and, for images, the most confident errors, in the run's figures/."""
    assert model.folder is not None
    run = store.load_run(model.folder)
    split = "test" if run.metrics.get("test") else "validation"
    found, folder = run.metrics[split], model.folder / "figures"
    folder.mkdir(exist_ok=True)
    learning = learning_data(run.history, run.metrics["reference"], ("log_loss", "accuracy"))
    drawn = [
        plot_learning(learning, "the most frequent class", folder / "learning.png", f"{name}: learning"),
        plots.plot_reliability(found, folder / "reliability.png", f"{name}: calibration, {split} examples"),
        plot_confusion(
            confusion_data(found["confusion"], model.classes), folder / "confusion.png", f"{name}: {split} examples"
        ),
    ]
    wrong = mistakes(model, data, split) if data.is_image else None
    (folder / "mistakes.png").unlink(missing_ok=True)
    if wrong is not None and wrong.total:
        title = f"{name}: most confident errors, {split} examples"
        drawn.append(plots.plot_mistakes(wrong, folder / "mistakes.png", title))
    return drawn


def mistakes(model: FittedClassifier, data: Dataset, split: str) -> plots.Mistakes:
    """The wrong predictions on a split with the highest probability."""
    rows, codes = data.splits[split], data.labels_of(split)
    assert codes is not None
    proba = model.predict_proba(data.flat[rows])
    answers, confidence = proba.argmax(1), proba.max(1)
    wrong = np.flatnonzero(answers != codes)
    first = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    return plots.Mistakes(
        viewable(data.x[rows[first]], data), [data.classes[int(c)] for c in codes[first]],
        [data.classes[int(c)] for c in answers[first]], confidence[first], len(wrong), len(rows),
    )  # fmt: skip
