"""The scikit-learn estimator: one VAE for pipelines, searches and other scikit-learn tools."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from vaelab.data.containers import FrameLook, converted, filled_frame, frame_of, library_of
from vaelab.data.scikit import FEWEST_TO_SPLIT, checked, held_out, library_for, precision
from vaelab.engine.process import one_thread
from vaelab.engine.training import Stack, epochs
from vaelab.errors import InputError
from vaelab.settings.spec import Activation, Network, Norm, OptimizerName, Schedule
from vaelab.vae import conditions
from vaelab.vae.custom_networks import CustomNetworks
from vaelab.vae.estimator_doc import DOC
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.learning import Variational
from vaelab.vae.spec import Binarize, LikelihoodName, PriorName, Spec

Array = npt.NDArray[Any]


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    __doc__ = DOC
    __metadata_request__fit = {"groups": True}  # noqa: RUF012 - with metadata routing, without a word from the user

    def __init__(
        self,
        latent_dim: int = 16,
        layers: int = 2,
        width: int = 256,
        taper: float = 0.5,
        hidden: tuple[int, ...] | str | None = None,
        activation: Activation = "silu",
        network: Network = "mlp",
        channels: tuple[int, ...] | str = (16, 32),
        blocks: int = 1,
        kernel: int = 5,
        norm: Norm = "none",
        dropout: float = 0.0,
        likelihood: LikelihoodName = "auto",
        real_likelihood: Literal["gaussian", "laplace", "huber", "student"] = "gaussian",
        count_likelihood: Literal["negative_binomial", "poisson", "zero_inflated"] = "negative_binomial",
        size_factor: Literal["auto", "total", "none"] = "auto",
        sigma: float | Literal["auto", "shared", "feature"] = "auto",
        threshold: float = 1.0,
        binarize: Binarize = "none",
        prior: PriorName = "normal",
        components: int = 10,
        covariance: Literal["auto", "full", "diag"] = "auto",
        pretrain: int | Literal["auto"] = "auto",
        beta: float = 1.0,
        warmup: int = 0,
        free_bits: float = 0.0,
        samples: int = 1,
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
        condition: Sequence[Any] | None = None,
        encoder: Any = None,
        decoder: Any = None,
    ):
        self.latent_dim = latent_dim
        self.layers = layers
        self.width = width
        self.taper = taper
        self.hidden = hidden
        self.activation = activation
        self.network = network
        self.channels = channels
        self.blocks = blocks
        self.kernel = kernel
        self.norm = norm
        self.dropout = dropout
        self.likelihood = likelihood
        self.real_likelihood = real_likelihood
        self.count_likelihood = count_likelihood
        self.size_factor = size_factor
        self.sigma = sigma
        self.threshold = threshold
        self.binarize = binarize
        self.prior = prior
        self.components = components
        self.covariance = covariance
        self.pretrain = pretrain
        self.beta = beta
        self.warmup = warmup
        self.free_bits = free_bits
        self.samples = samples
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
        self.condition = condition
        self.encoder = encoder
        self.decoder = decoder

    def fit(self, X: Any, y: Any = None, groups: Any = None) -> Self:
        """Train the model.

        Parameters
        ----------
        X : data frame or array-like of shape (n, D), or array of shape (n, H, W) or (n, H, W, C)
            A table, whose cells may be missing, or images; at least 2 examples. uint8 images are taken as grey
            values from 0 to 255.
        y : ignored
        groups : array-like of shape (n,), default=None
            Rows of one group, such as replicates, are held out together. With scikit-learn's metadata routing a
            search passes them on; without it they only decide its folds.

        Returns
        -------
        self : VAE

        Raises
        ------
        vaelab.errors.InputError
            A ValueError: a setting out of range, unsuitable data, or a non-finite loss or gradient in
            training.
        """
        settings = self.get_params(deep=False)
        types, condition = settings.pop("types"), settings.pop("condition")
        custom = CustomNetworks.of(settings.pop("encoder"), settings.pop("decoder"))
        spec = Spec.create(**settings)
        x, look = checked(self, X, reset=True), FrameLook.of(X)
        data = held_out(
            x, spec.seed, types=types, groups=groups, infer=spec.likelihood == "mixed", condition=condition or ()
        )
        spec = resolve(spec, data)
        with one_thread():
            feed = Feed(data, spec)
            if custom is not None:
                custom.check(spec.latent_dim, feed.grid)
                spec = spec.replace(engine="autograd")
            stack = Stack([spec], feed, method=Variational(custom))
            history = []
            for (record,) in epochs(stack):
                if stack.failures[0] is not None:
                    raise InputError(f"training failed: {stack.failures[0]}; lower `lr` or rescale X.")
                history.append(record.as_dict())
                if stack.has_stalled(0):
                    break
            fitted = Fitted.of(feed, spec.replace(device="cpu"), stack.best[0].cpu(), custom).double()
        self.spec_, self.fitted_, self.history_, self.n_iter_ = spec, fitted, history, stack.epoch
        self.frame_ = look
        return self

    def transform(self, X: Any) -> Array:
        """The mean of q(z|x) of each example.

        Parameters
        ----------
        X : data frame or array-like (n, *shape) or (n, n_features_in_)

        Returns
        -------
        Z : ndarray of shape (n, latent_dim)
            float32 if X is, else float64; a data frame, with the index of X, after `set_output`.
        """
        x = self._new(X)
        with one_thread():
            mean, _ = self.fitted_.encode(x)
        return mean.astype(precision(x), copy=False)

    def inverse_transform(self, Z: Any) -> Any:
        """E[x|z], the decoded example of each point of the latent space.

        Parameters
        ----------
        Z : data frame or array-like of shape (n, latent_dim)

        Returns
        -------
        X : ndarray of shape (n, *shape), or data frame
            In the data's own units; of levels the most likely one. float32 if Z is, else float64. Conditions are
            typical: the median, or the most frequent level.
        """
        check_is_fitted(self)
        z = check_array(Z, dtype=[np.float64, np.float32], input_name="Z", estimator=self)
        with one_thread():
            x = self.fitted_.decode(z).astype(precision(z), copy=False)
        return self._given_back(x, Z, is_mean=True)

    def reconstruct(self, X: Any) -> Any:
        """E[x|z] at the mean of q(z|x) of each example.

        Parameters
        ----------
        X : data frame or array-like (n, *shape) or (n, n_features_in_)

        Returns
        -------
        X : ndarray of shape (n, *shape), or data frame
            A data frame keeps its index, and its columns that are not modelled, such as ids.
        """
        x = self._new(X)
        with one_thread():
            found = self.fitted_.reconstruct(x).astype(precision(x), copy=False)
        return self._given_back(found, X, replaced=np.ones(found.shape, bool), is_mean=True)

    def impute(self, X: Any, draws: int = 0, random_state: Any = None) -> Any:
        """Rows of a table with their missing cells filled; what is there is not changed.

        A single value is E[x_missing | x_observed], a level the most likely one, and counts are whole. Draws are from
        p(x_missing | x_observed): the spread of an analysis repeated on each shows what is not known.

        Parameters
        ----------
        X : data frame or array-like of shape (n, n_features_in_)
        draws : int
            0 for single values, else the number of draws.
        random_state : int, RandomState instance or None
            Of draws; None makes different ones at every call.

        Returns
        -------
        X : ndarray of shape (n, D), or data frame
            As X, with its index, names and types. With `draws` an array of shape (draws, n, D), or a list of
            data frames.
        """
        x = self._new(X)
        if not isinstance(draws, (int, np.integer)) or isinstance(draws, bool) or draws < 0:
            raise InputError(f"`draws` must be a whole number of at least 0, but got {draws!r}.")
        seed = int(check_random_state(random_state).randint(2**31)) if draws else 0
        with one_thread():
            missing = np.isnan(self.fitted_.rows(x))
            found = self.fitted_.impute(x, int(draws), seed).astype(precision(x), copy=False)
        if library_of(x) is None:
            found = np.where(missing, found, x)  # the model's own rows may be rounded to float32
        if not draws:
            return self._given_back(found, X, missing)
        every = [self._given_back(each, X, missing) for each in found]
        return np.stack(every) if isinstance(every[0], np.ndarray) else every

    def translate(self, X: Any, to: Mapping[Any, Any]) -> Any:
        """What examples would be under other conditions: E[x|z, c'] at the mean of q(z|x, c).

        Parameters
        ----------
        X : data frame or array-like of shape (n, n_features_in_)
        to : mapping of str or int to the new value
            Of some conditions, by name or position.

        Returns
        -------
        X : ndarray of shape (n, D), or data frame
        """
        x = self._new(X)
        with one_thread():
            found = self.fitted_.translate(x, to).astype(precision(x), copy=False)
        return self._given_back(found, X, replaced=np.ones(found.shape, bool), is_mean=True)

    def sample(
        self, n: int = 1, random_state: Any = None, noise: bool = False, given: Mapping[Any, Any] | None = None
    ) -> Any:
        """New examples E[x|z] for z drawn from the prior.

        Parameters
        ----------
        n : int
            Number of examples.
        random_state : int, RandomState instance or None
            None draws different ones at every call.
        noise : bool
            Draw x ~ p(x|z) instead of its mean, which is smoother than data.
        given : mapping of str or int to a value, or None
            Of some conditions, by name or position; the others are drawn from the training rows.

        Returns
        -------
        X : ndarray of shape (n, *shape), or data frame
            In the data's own units, float64.
        """
        check_is_fitted(self)
        if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
            raise InputError(f"`n` must be a whole number of at least 1, but got {n!r}.")
        rng, latent_dim = check_random_state(random_state), self.fitted_.spec.latent_dim
        z = self.fitted_.draw_prior(rng.standard_normal((n, latent_dim)), rng.random(n))
        rows = conditions.drawn(self.fitted_, n, given or {}, rng)
        with one_thread():
            x = self.fitted_.draw(z, int(rng.randint(2**31)), rows) if noise else self.fitted_.decode(z, rows)
        return self._given_back(x, None, is_mean=not noise)

    def score_samples(self, X: Any) -> npt.NDArray[np.float64]:
        """The evidence lower bound of each example, with beta = 1; higher is better.

        The expectation over q(z|x) is the mean of a few draws whose noise depends only on the example, so
        the score of an example does not depend on the other rows or their order.

        Parameters
        ----------
        X : data frame or array-like (n, *shape) or (n, n_features_in_)
            A missing cell costs nothing.

        Returns
        -------
        elbo : ndarray of shape (n,)
            In nats.
        """
        x = self._new(X)
        with one_thread():
            elbo: npt.NDArray[np.float64] = self.fitted_.score_samples(x)
        return elbo

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples` in nats per example.

        Scores of two models are comparable only with the same likelihood: set it in a grid search rather
        than use auto, which decides again for each fold.
        """
        return float(self.score_samples(X).mean())

    @property
    def _n_features_out(self) -> int:
        return self.fitted_.spec.latent_dim

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        # `categorical` and `string` are of arrays, whose columns are numbers; of data frames there is no tag, and
        # scikit-learn's own estimators that read categories from data frames do not set these either.
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _new(self, X: Any) -> Any:
        """New examples, checked by scikit-learn."""
        check_is_fitted(self)
        return checked(self, X, modelled=self.fitted_.facts.features)

    def _given_back(
        self, x: Array, given: Any, replaced: npt.NDArray[np.bool_] | None = None, is_mean: bool = False
    ) -> Any:
        """Rows x as the container that was `given` or asked for; in `given` only the cells `replaced` change."""
        facts, library = self.fitted_.facts, library_for(self, given)
        if library is None or x.ndim != 2:
            return x
        types = facts.reading.types
        if replaced is not None and library_of(given) is not None and facts.features:
            return converted(filled_frame(given, x, replaced, facts.columns, self.frame_, types, is_mean), library)
        columns = facts.columns
        if not facts.features:
            names = getattr(self, "feature_names_in_", [f"x{j}" for j in range(x.shape[1])])
            columns = tuple(dataclasses.replace(c, name=str(name)) for c, name in zip(columns, names, strict=True))
        looks = self.frame_.looks if self.frame_ is not None and self.frame_.library == library else {}
        index = given.index if library == "pandas" and library_of(given) == "pandas" else None
        return frame_of(x, columns, library, looks, types, index, is_mean)


__all__ = ["FEWEST_TO_SPLIT", "VAE"]
