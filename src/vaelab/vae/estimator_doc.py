"""The docstring of the scikit-learn estimator, whose parameters are described by the settings themselves."""

from __future__ import annotations

import typing
from typing import Any, Literal

from vaelab.data.scikit import CONDITION_DOC, FEWEST_TO_SPLIT, TYPES_DOC
from vaelab.settings.spec import settings_table
from vaelab.vae.spec import Spec

_TEXT = """A variational autoencoder as a scikit-learn transformer and density model.

    The model is z ~ N(0, I), x ~ p(x|z), with q(z|x) a diagonal Gaussian; encoder and decoder are fully
    connected or convolutional networks, trained to maximise the evidence lower bound

        ELBO(x) = E_q log p(x|z) - beta KL(q(z|x) || p(z))  <=  log p(x) for beta = 1.

    `fit` holds out a seeded tenth of the rows and keeps the weights of the best epoch on them; with
    fewer than {fewest} rows all rows are used to train and to choose the epoch. A density sees the columns of a table
    standardised, so no scaler is needed in front, and is stated in the data's own units. Constant
    columns are excluded, and `inverse_transform` restores them. Images in [0, 1] and arrays of 0 and 1 are
    treated as probabilities (likelihood 'bernoulli'), and values outside are then rejected later.

    X may be a data frame of pandas or polars with columns of any kind (numbers, counts, categories, text, booleans,
    dates), and cells of a table may be missing; `types` tells kinds that the values do not. Each column then has
    a noise model of its own (likelihood 'mixed'), and `impute` fills what is missing. Columns of names or free text
    are not modelled. New rows may only hold levels that training rows had or that a categorical column declares. A
    model trained on a data frame returns data frames from `inverse_transform`, `reconstruct`, `impute` and `sample`,
    with levels as text and dates as dates; `transform` returns what `set_output` says.

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
    frame_ : vaelab.data.containers.FrameLook or None
        Names and types of the columns of the data frame that X was; None if it was an array.

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
        TYPES_DOC,
        CONDITION_DOC,
        "    encoder : torch.nn.Module or None, default=None",
        "        a custom network that replaces the built one (see vaelab.vae.custom_networks).",
        "    decoder : torch.nn.Module or None, default=None",
        "        likewise.",
    ]
    return "\n".join(lines)


DOC = _TEXT.format(parameters=_parameters(), fewest=FEWEST_TO_SPLIT)
