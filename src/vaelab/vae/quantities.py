"""What a trained VAE says of a table, as pictures show it: numbers, and the probability of each level."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.data import Dataset
from vaelab.plots.dataset import viewable
from vaelab.plots.features import Features
from vaelab.vae import conditions
from vaelab.vae.fitted import Fitted
from vaelab.vae.likelihoods.bernoulli import Bernoulli
from vaelab.vae.likelihoods.categorical import Categorical
from vaelab.vae.likelihoods.mixed import Mixed, Part
from vaelab.vae.likelihoods.ordinal import Ordinal

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


def quantities(fitted: Fitted, data: Dataset, z: Any, features: Features | None) -> Array:
    """Points z (n, L) decoded: examples as they are viewed; of a typed table, the quantities (n, D) of `features`,
    under typical conditions.
    """
    own = fitted.decode(z)
    if features is None or not features.columns:
        return viewable(own, data)
    found = features.spread(own.reshape(len(own), -1))
    shares = level_shares(fitted, z)
    for i, (level, column) in enumerate(zip(features.levels, features.of, strict=True)):
        if level >= 0 and column in shares:
            found[:, i] = shares[column][:, level]
    return found


def drawn(fitted: Fitted, data: Dataset, z: Any, features: Features | None, seed: int = 0) -> Array:
    """New examples for points z (n, L), as pictures compare them with data: draws of x|z of typed tables, whose levels
    have no mean; else decoded means. Conditions are drawn from the training rows.
    """
    given = conditions.drawn(fitted, len(z), {}, np.random.default_rng(seed))
    if features is None or not features.columns:
        return viewable(fitted.decode(z, given), data)
    return features.spread(fitted.draw(z, seed, given).reshape(len(z), -1))


def reconstructed(fitted: Fitted, rows: Array) -> Array:
    """Rows (n, D) of a table reconstructed from their posterior means; counts with the size of each row, if they are
    compared with it.
    """
    z, typed, kept = fitted.encode(rows)[0], fitted.scaling.typed, fitted.scaling.kept
    own = fitted.decode(z, rows)
    if typed is None or not typed.has_size:
        return own
    assert kept is not None
    columns = kept[typed.places("count")]
    sizes = typed.sizes(rows[:, columns].astype(np.float64))
    # Means of counts are proportional to the size, which `decode` takes to be typical.
    own[:, columns] = own[:, columns] * (sizes / np.exp(typed.size[0]))[:, None]
    return own


@torch.no_grad()
def level_shares(fitted: Fitted, z: Any, given: Array | None = None) -> dict[int, Floats]:
    """Probabilities (n, levels) at points z (n, L) of columns of levels with their own noise model, by number; under
    typical conditions, or those of rows (n, D).
    """
    likelihood, kept = fitted.model.likelihood, fitted.scaling.kept
    if not isinstance(likelihood, Mixed) or kept is None:
        return {}
    outputs = fitted.outputs(z, given)
    found: dict[int, Floats] = {}
    for part in likelihood.parts:
        shares = _shares(part, outputs[:, part.outputs], part.own(fitted.parameters))
        for j, column in enumerate(kept[part.columns].tolist() if shares is not None else ()):
            assert shares is not None
            levels = len(fitted.facts.columns[column].levels)
            found[column] = shares[:, j, :levels].double().cpu().numpy()
    return found


def _shares(part: Part, outputs: Tensor, parameters: dict[str, Tensor]) -> Tensor | None:
    """Probabilities (n, columns, most levels) of a part; None if it has no levels."""
    if isinstance(part.likelihood, Bernoulli):
        second = torch.sigmoid(outputs)
        return torch.stack([1 - second, second], -1)
    if isinstance(part.likelihood, Categorical):
        return torch.softmax(part.likelihood.logits(outputs), -1)
    if isinstance(part.likelihood, Ordinal):
        thresholds = part.likelihood.thresholds(parameters)[0]
        return torch.sigmoid(thresholds - outputs[..., None]).diff(dim=-1)
    return None
