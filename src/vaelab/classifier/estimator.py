"""The scikit-learn estimator of classifiers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from vaelab.classifier import scores
from vaelab.classifier.feed import LabelledFeed, resolve
from vaelab.classifier.fitted import FittedClassifier
from vaelab.classifier.learning import Discriminative
from vaelab.classifier.spec import ClassifierSpec
from vaelab.data.containers import FrameLook
from vaelab.data.labels import kind_of_labels
from vaelab.data.scikit import FEWEST_TO_SPLIT, checked, checked_with_labels, held_out
from vaelab.engine.process import one_thread
from vaelab.settings.spec import Activation, Network, Norm, OptimizerName, Schedule
from vaelab.supervised.estimator import parameters_doc, trained
from vaelab.supervised.model import outputs_of

Array = npt.NDArray[Any]

_DOC = """A neural network as a scikit-learn classifier, with calibrated probabilities.

    p(c|x) = softmax(f(x) / T), with f a network trained by cross-entropy on the stacked engine, and T, the
    temperature, fitted on held-out rows.

    `fit` holds out a seeded tenth of the rows, balanced over classes if possible, keeps the weights of the epoch
    that was most accurate on them (with balanced class weights: by balanced accuracy), and fits T to them; with fewer
    than {fewest} rows all rows serve both. Columns are standardised, so no scaler is needed in front.
    `vaelab.classify` searches the settings.

    X may be a data frame of pandas or polars with columns of any kind (numbers, counts, categories, text, booleans,
    dates), and cells of a table may be missing; `types` tells kinds that the values do not. New rows may only hold
    levels that training rows had or that a categorical column declares. As in scikit-learn, answers are arrays, one
    row per row of X.

    Parameters
    ----------
{parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    spec_ : vaelab.classifier.spec.ClassifierSpec
        All settings, with automatic ones resolved.
    fitted_ : vaelab.classifier.fitted.FittedClassifier
        The trained model, in float64. `fitted_.save` writes a run folder, which contains no executable code.
    history_ : list of dict
        One record per epoch: learning rate, log-loss and accuracy on training and held-out rows.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X was a data frame whose column names are all strings.
    frame_ : vaelab.data.containers.FrameLook or None
        Names and types of the columns of the data frame that X was; None if it was an array.

    References
    ----------
    Guo et al. (2017), On Calibration of Modern Neural Networks.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from vaelab.classifier.estimator import Classifier
    >>> X, y = load_iris(return_X_y=True)
    >>> Classifier(epochs=20).fit(X, y).score(X, y) > 0.9
    True
    """


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    __doc__ = _DOC.format(parameters=parameters_doc(ClassifierSpec), fewest=FEWEST_TO_SPLIT)
    __metadata_request__fit = {"groups": True}  # noqa: RUF012 - with metadata routing, without a word from the user

    def __init__(
        self,
        layers: int = 2,
        units1: int = 256,
        units2: int = 128,
        units3: int = 64,
        dropout1: float = 0.2,
        dropout2: float = 0.2,
        dropout3: float = 0.2,
        hidden: tuple[int, ...] | str | None = None,
        activation: Activation = "silu",
        network: Network = "mlp",
        channels: tuple[int, ...] | str = (32, 64),
        blocks: int = 0,
        kernel: int = 3,
        norm: Norm = "batch",
        pooling: Literal["stride", "max"] = "max",
        stem: int = 0,
        label_smoothing: float = 0.0,
        shift: int = 0,
        flip: Literal["none", "horizontal"] = "none",
        erase: float = 0.0,
        class_weight: Literal["none", "balanced"] = "none",
        optimizer: OptimizerName = "adam",
        lr: float = 2e-3,
        weight_decay: float = 0.0,
        clip: float = 200.0,
        schedule: Schedule = "auto",
        batch_size: int | Literal["auto"] = "auto",
        epochs: int | Literal["auto"] = "auto",
        patience: float | Literal["auto"] = "auto",
        engine: Literal["auto", "fused", "autograd"] = "auto",
        precision: Literal["float32", "bf16"] = "float32",
        device: str = "auto",
        seed: int = 0,
        types: Mapping[Any, Any] | None = None,
    ):
        self.layers = layers
        self.units1 = units1
        self.units2 = units2
        self.units3 = units3
        self.dropout1 = dropout1
        self.dropout2 = dropout2
        self.dropout3 = dropout3
        self.hidden = hidden
        self.activation = activation
        self.network = network
        self.channels = channels
        self.blocks = blocks
        self.kernel = kernel
        self.norm = norm
        self.pooling = pooling
        self.stem = stem
        self.label_smoothing = label_smoothing
        self.shift = shift
        self.flip = flip
        self.erase = erase
        self.class_weight = class_weight
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.clip = clip
        self.schedule = schedule
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.engine = engine
        self.precision = precision
        self.device = device
        self.seed = seed
        self.types = types

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Train the classifier.

        Parameters
        ----------
        X : data frame or array-like of shape (n, D), or array of shape (n, H, W) or (n, H, W, C)
            A table, whose cells may be missing, or images.
        y : array-like of shape (n,)
            Class labels; at least two classes, and two examples of each.
        groups : array-like of shape (n,), default=None
            Rows of one group, such as replicates, are held out together. With scikit-learn's metadata routing a
            search passes them on; without it they only decide its folds.

        Returns
        -------
        self : Classifier

        Raises
        ------
        vaelab.errors.InputError
            A ValueError: a setting out of range, unsuitable data, or a non-finite loss or gradient in
            training.
        """
        settings = self.get_params(deep=False)
        types, spec = settings.pop("types"), ClassifierSpec.create(**settings)
        x, y = checked_with_labels(self, X, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.frame_ = FrameLook.of(X)
        data = held_out(
            x, spec.seed, types=types, groups=groups, codes=codes.astype(np.int64),
            classes=tuple(str(c) for c in self.classes_),
        )  # fmt: skip
        data = dataclasses.replace(data, label_kind=kind_of_labels(self.classes_))
        spec = resolve(spec, data)
        with one_thread():
            feed = LabelledFeed(data, spec)
            judge = "balanced_accuracy" if spec.class_weight == "balanced" else "accuracy"
            stack, history = trained(spec, feed, Discriminative(judge))
            logits = outputs_of(stack.model, stack.views(stack.best), feed.batches("validation", 1))[0]
            temperature = scores.fit_temperature(logits, feed.codes("validation"))
            own = spec.replace(device="cpu")
            self.fitted_ = FittedClassifier.of(feed, own, stack.best[0].cpu(), temperature).double()
        self.spec_, self.history_, self.n_iter_ = spec, history, stack.epoch
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """p(c|x) of each example, in the order of `classes_`.

        Parameters
        ----------
        X : data frame or array-like (n, *shape) or (n, n_features_in_)

        Returns
        -------
        proba : ndarray of shape (n, n_classes)
        """
        check_is_fitted(self)
        x = checked(self, X, modelled=self.fitted_.facts.features)
        with one_thread():
            return self.fitted_.predict_proba(x)

    def predict(self, X: Any) -> Array:
        """The most likely class of each example.

        Parameters
        ----------
        X : data frame or array-like (n, *shape) or (n, n_features_in_)

        Returns
        -------
        y : ndarray of shape (n,)
        """
        answers: Array = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[answers])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        # `categorical` and `string` are of arrays, whose columns are numbers; of data frames there is no tag, and
        # scikit-learn's own estimators that read categories from data frames do not set these either.
        return tags


__all__ = ["Classifier"]
