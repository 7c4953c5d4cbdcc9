"""The scikit-learn estimator of regressors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from vaelab.data.containers import FrameLook
from vaelab.data.scikit import FEWEST_TO_SPLIT, checked, checked_with_labels, held_out
from vaelab.data.targets import target_values
from vaelab.engine.process import one_thread
from vaelab.regressor import scores
from vaelab.regressor.feed import NumericFeed, resolve
from vaelab.regressor.fitted import FittedRegressor
from vaelab.regressor.learning import Regression
from vaelab.regressor.spec import Noise, RegressorSpec
from vaelab.settings.spec import Activation, Network, Norm, OptimizerName, Schedule
from vaelab.supervised.estimator import parameters_doc, trained

Array = npt.NDArray[np.float64]

_DOC = """A neural network as a scikit-learn regressor, with the noise of each prediction and calibrated intervals.

    p(y|x) is Gaussian up to three scales s(x) from its mean m(x), with tails of a power beyond, so that outliers do no
    harm; m and log s are outputs of a network trained by maximum likelihood on the stacked engine.

    `fit` holds out a seeded tenth of the rows, keeps the weights of the epoch that gave them the highest density, and
    calibrates intervals by their residuals; with fewer than {fewest} rows all rows serve both, and intervals may be too
    narrow. Columns and target are standardised, so no scaler is needed. `vaelab.regress` searches the settings.

    X may be a data frame of pandas or polars with columns of any kind (numbers, counts, categories, text, booleans,
    dates), and cells of a table may be missing; `types` tells kinds that the values do not. New rows may only hold
    levels that training rows had or that a categorical column declares.

    Parameters
    ----------
{parameters}

    Attributes
    ----------
    spec_ : vaelab.regressor.spec.RegressorSpec
        All settings, with automatic ones resolved.
    fitted_ : vaelab.regressor.fitted.FittedRegressor
        The trained model, in float64. `fitted_.save` writes a run folder, which contains no executable code.
    history_ : list of dict
        One record per epoch: learning rate, log-density, R² and RMSE on training and held-out rows.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X was a data frame whose column names are all strings.
    frame_ : vaelab.data.containers.FrameLook or None
        Names and types of the columns of the data frame that X was; None if it was an array.

    References
    ----------
    Nix and Weigend (1994), Estimating the mean and variance of the target probability distribution. Lei et al. (2018),
    Distribution-free predictive inference for regression.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from vaelab.regressor.estimator import Regressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> Regressor(epochs=20).fit(X, y).score(X, y) > 0.4
    True
    """


class Regressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    __doc__ = _DOC.format(parameters=parameters_doc(RegressorSpec), fewest=FEWEST_TO_SPLIT)
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
        shift: int = 0,
        flip: Literal["none", "horizontal"] = "none",
        erase: float = 0.0,
        noise: Noise = "per_row",
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
        self.shift = shift
        self.flip = flip
        self.erase = erase
        self.noise = noise
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
        """Train the regressor.

        Parameters
        ----------
        X : data frame or array-like of shape (n, D), or array of shape (n, H, W) or (n, H, W, C)
            A table, whose cells may be missing, or images.
        y : array-like of shape (n,)
            Numbers in their own unit.
        groups : array-like of shape (n,), default=None
            Rows of one group, such as replicates, are held out together. With scikit-learn's metadata routing a
            search passes them on; without it they only decide its folds.

        Returns
        -------
        self : Regressor

        Raises
        ------
        vaelab.errors.InputError
            A ValueError: a setting out of range, unsuitable data, or a non-finite loss or gradient in
            training.
        """
        settings = self.get_params(deep=False)
        types, spec = settings.pop("types"), RegressorSpec.create(**settings)
        x, y = checked_with_labels(self, X, y)
        self.frame_ = FrameLook.of(X)
        data = held_out(x, spec.seed, types=types, groups=groups, targets=target_values(y, "y"))
        spec = resolve(spec, data)
        with one_thread():
            feed = NumericFeed(data, spec)
            stack, history = trained(spec, feed, Regression())
            own = spec.replace(device="cpu")
            self.fitted_ = FittedRegressor.of(feed, own, stack.best[0].cpu()).double()
        self.spec_, self.history_, self.n_iter_ = spec, history, stack.epoch
        return self

    def predict(self, X: Any) -> Array:
        """The mean of the target of each example.

        Parameters
        ----------
        X : data frame or array-like (n, *shape) or (n, n_features_in_)

        Returns
        -------
        y : ndarray of shape (n,)
        """
        x = self._checked(X)
        with one_thread():
            return self.fitted_.predict(x)

    def predict_interval(self, X: Any, level: float = scores.LEVEL) -> tuple[Array, Array]:
        """The ends of intervals that cover a new target with a probability of at least `level`.

        Parameters
        ----------
        X : data frame or array-like (n, *shape) or (n, n_features_in_)
        level : float, default=0.9

        Returns
        -------
        lower, upper : ndarray of shape (n,)
        """
        x = self._checked(X)
        with one_thread():
            return self.fitted_.predict_interval(x, level)[1:]

    def _checked(self, X: Any) -> Any:
        check_is_fitted(self)
        return checked(self, X, modelled=self.fitted_.facts.features)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags


__all__ = ["Regressor"]
