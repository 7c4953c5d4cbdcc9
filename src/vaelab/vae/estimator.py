"""The scikit-learn estimator: one VAE for pipelines, searches and other scikit-learn tools."""

from __future__ import annotations

import dataclasses
import math
import typing
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from vaelab.data import Dataset, from_arrays, split_rows
from vaelab.engine.process import one_thread
from vaelab.engine.training import Stack, epochs
from vaelab.errors import InputError
from vaelab.settings.spec import Activation, Network, Norm, OptimizerName, Schedule, settings_table
from vaelab.vae.custom_networks import CustomNetworks
from vaelab.vae.feed import Feed, resolve
from vaelab.vae.fitted import Fitted
from vaelab.vae.learning import Variational
from vaelab.vae.spec import Binarize, LikelihoodName, PriorName, Spec

Array = npt.NDArray[Any]
VALIDATION_SHARE = 0.1
FEWEST_TO_SPLIT = 100  # rows; with fewer, all of them judge an epoch better than a tenth

_DOC = """A variational autoencoder as a scikit-learn transformer and density model.

    The model is z ~ N(0, I), x ~ p(x|z), with q(z|x) a diagonal Gaussian; encoder and decoder are fully
    connected or convolutional networks, trained to maximise the evidence lower bound

        ELBO(x) = E_q log p(x|z) - beta KL(q(z|x) || p(z))  <=  log p(x) for beta = 1.

    `fit` holds out a seeded tenth of the rows and keeps the weights of the best epoch on them; with
    fewer than {fewest} rows all rows are used to train and to choose the epoch. A density sees the columns of a table
    standardised, so no scaler is needed in front, and is stated in the data's own units. Constant
    columns are excluded, and `inverse_transform` restores them. Values in [0, 1] that reach both ends are
    treated as probabilities (likelihood 'bernoulli'), and values outside are then rejected later: after a
    MinMaxScaler, set likelihood='gaussian'.

    Parameters
    ----------
{parameters}

    Attributes
    ----------
    spec_ : vaelab.settings.spec.Spec
        All settings, with automatic ones resolved: likelihood, batch size, device, engine.
    fitted_ : vaelab.vae.fitted.Fitted
        The trained model, in float64 and on the CPU, so that results do not depend on which rows are computed
        together. `fitted_.save` writes a run folder, which unlike a pickle contains no executable code.
    history_ : list of dict
        One record per epoch: learning rate, beta, and the terms in nats per example on train and validation.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Values per example; for images the product of their shape.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X was a data frame whose column names are all strings.

    References
    ----------
    Kingma and Welling (2014), Auto-Encoding Variational Bayes, equation 10.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from vaelab.vae.estimator import VAE
    >>> X = load_iris().data
    >>> vae = VAE(latent_dim=2, layers=1, width=32).fit(X)
    >>> vae.transform(X).shape
    (150, 2)
    >>> vae.inverse_transform([[0.0, 0.0]]).shape
    (1, 4)
    >>> bool(vae.score(X) > VAE(latent_dim=2, layers=1, width=32, epochs=1).fit(X).score(X))
    True
    """


def _kinds(annotation: Any) -> list[str]:
    """The types of a setting for the docstring: its choices, or 'int', 'float', 'str'."""
    if annotation is type(None):
        return ["None"]
    if typing.get_origin(annotation) is Literal:
        return [repr(choice) for choice in typing.get_args(annotation)]
    if typing.get_origin(annotation) is typing.Annotated:
        return _kinds(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) is tuple:
        return ["tuple of int", "str"]  # `hidden`, which may be written as '512-256'
    if isinstance(annotation, type):
        return [annotation.__name__]
    return [kind for part in typing.get_args(annotation) for kind in _kinds(part)]


def _parameters() -> str:
    """The parameter section of the docstring, from the setting descriptions."""
    lines = []
    for name, _, _, meaning in settings_table(Spec):
        field = Spec.model_fields[name]
        kinds = _kinds(field.annotation)
        choices = ", ".join(k for k in kinds if k.startswith("'"))
        others = [k for k in kinds if not k.startswith("'")]
        kind = " or ".join([f"{{{choices}}}"] * bool(choices) + others)
        lines += [
            f"    {name} : {kind}, default={field.default!r}",
            f"        {meaning}.",
        ]
    lines += [
        "    encoder : torch.nn.Module or None, default=None",
        "        a custom network that replaces the built one (see vaelab.vae.custom_networks).",
        "    decoder : torch.nn.Module or None, default=None",
        "        likewise.",
    ]
    return "\n".join(lines)


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    __doc__ = _DOC.format(parameters=_parameters(), fewest=FEWEST_TO_SPLIT)

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
        sigma: float | Literal["auto", "shared", "feature"] = "auto",
        threshold: float = 1.0,
        binarize: Binarize = "none",
        prior: PriorName = "normal",
        components: int = 10,
        covariance: Literal["full", "diag"] = "full",
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
        self.encoder = encoder
        self.decoder = decoder

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the model.

        Parameters
        ----------
        X : array-like of shape (n, D), or array of shape (n, H, W) or (n, H, W, C)
            A table, or images; at least 2 examples. uint8 images are taken as grey values from 0 to 255.
        y : ignored

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
        custom = CustomNetworks.of(settings.pop("encoder"), settings.pop("decoder"))
        spec = Spec.create(**settings)
        x = self._checked(X, reset=True)
        data = _dataset(x, getattr(self, "feature_names_in_", ()), spec.seed)
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
        return self

    def transform(self, X: Any) -> Array:
        """The mean of q(z|x) of each example.

        Parameters
        ----------
        X : array-like (n, *shape) or (n, n_features_in_)

        Returns
        -------
        Z : ndarray of shape (n, latent_dim)
            float32 if X is, else float64.
        """
        check_is_fitted(self)
        x = self._checked(X)
        with one_thread():
            mean, _ = self.fitted_.encode(x)
        return mean.astype(_precision(x), copy=False)

    def inverse_transform(self, Z: Any) -> Array:
        """E[x|z], the decoded example of each point of the latent space.

        Parameters
        ----------
        Z : array-like of shape (n, latent_dim)

        Returns
        -------
        X : ndarray of shape (n, *shape)
            In the data's own units; float32 if Z is, else float64.
        """
        check_is_fitted(self)
        z = check_array(Z, dtype=[np.float64, np.float32], input_name="Z", estimator=self)
        with one_thread():
            return self.fitted_.decode(z).astype(_precision(z), copy=False)

    def sample(self, n: int = 1, random_state: Any = None, noise: bool = False) -> Array:
        """New examples E[x|z] for z drawn from the prior.

        Parameters
        ----------
        n : int
            Number of examples.
        random_state : int, RandomState instance or None
            None draws different ones at every call.
        noise : bool
            Draw x ~ p(x|z) instead of its mean, which is smoother than data.

        Returns
        -------
        X : ndarray of shape (n, *shape)
            In the data's own units, float64.
        """
        check_is_fitted(self)
        if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
            raise InputError(f"`n` must be a whole number of at least 1, but got {n!r}.")
        rng, latent_dim = check_random_state(random_state), self.fitted_.spec.latent_dim
        z = self.fitted_.draw_prior(rng.standard_normal((n, latent_dim)), rng.random(n))
        if not noise:
            return self.inverse_transform(z)
        with one_thread():
            return self.fitted_.draw(z, int(rng.randint(2**31)))

    def score_samples(self, X: Any) -> npt.NDArray[np.float64]:
        """The evidence lower bound of each example, with beta = 1; higher is better.

        The expectation over q(z|x) is the mean of a few draws whose noise depends only on the example, so
        the score of an example does not depend on the other rows or their order.

        Parameters
        ----------
        X : array-like (n, *shape) or (n, n_features_in_)

        Returns
        -------
        elbo : ndarray of shape (n,)
            In nats.
        """
        check_is_fitted(self)
        x = self._checked(X)
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
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _checked(self, X: Any, reset: bool = False) -> Array:
        """X, validated by scikit-learn; images are flattened, so that `n_features_in_` counts their pixels."""
        shape = tuple(getattr(X, "shape", ()))
        is_image = len(shape) > 2
        if is_image:
            X = np.asarray(X).reshape(shape[0], math.prod(shape[1:]))
        x: Array = validate_data(self, X, reset=reset, ensure_min_samples=2 if reset else 1)
        return x.reshape(shape) if is_image else x


def _precision(x: Array) -> type[np.floating[Any]]:
    return np.float32 if x.dtype == np.float32 else np.float64


def _dataset(x: Array, features: Any, seed: int) -> Dataset:
    """The rows with a validation share and no test split; few rows serve as both train and validation."""
    data = from_arrays(x, name="X", seed=seed, features=list(features), whole=True)
    n = len(x)
    if n < FEWEST_TO_SPLIT:
        splits = {**data.splits, "validation": data.splits["train"]}
    else:
        splits = split_rows(n, None, seed, validation=VALIDATION_SHARE, test=0.0)
    data = dataclasses.replace(data, splits=splits)
    return dataclasses.replace(data, source={**data.source, "fingerprint": data.fingerprint})


__all__ = ["VAE"]
