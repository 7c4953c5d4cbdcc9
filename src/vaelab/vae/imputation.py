"""Missing cells of a table, filled by a trained VAE: single values and draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError
from vaelab.vae import evaluate
from vaelab.vae.likelihoods.mixed import Mixed

if TYPE_CHECKING:
    from vaelab.vae.fitted import Fitted

Array = npt.NDArray[Any]

POINTS = 256  # of z, drawn for each row from q(z|x) and weighted
RESAMPLED = 3  # seed part


@torch.no_grad()
def impute(fitted: Fitted, x: Any) -> Array:
    """Rows x (n, D), their missing cells filled with E[x_missing | x_observed]; of categories and ordered levels with
    the most likely one, of positive numbers, whose logarithm is modelled, with about the median; counts are whole. A
    missing condition stays missing. Positive numbers and counts never exceed what was seen in training: an exponential
    makes any extrapolation a wild one.

    By self-normalised importance weights of draws z_k from q(z|x): w_k = p(x_observed, z_k) / q(z_k|x), which assumes
    that values are missing at random (Mattei & Frellsen 2019, "MIWAE", eq. 9).
    """
    rows = fitted.rows(x)
    filled = rows.astype(np.result_type(rows.dtype, fitted.scaling.offset, np.float32))
    typed = _likelihood(fitted).typed
    highest = torch.from_numpy(typed.highest[typed.modelled]).to(fitted.row)
    for place, outputs, log_w in _weighted(fitted, rows):
        weights = torch.softmax(log_w, 0)[..., None]
        found = _likelihood(fitted).expectation(outputs, weights, fitted.parameters, sizes(fitted, rows[place]))
        _fill(fitted, filled, rows, place, torch.minimum(found, highest))
    return filled


@torch.no_grad()
def draw(fitted: Fitted, x: Any, draws: int, seed: int = 0) -> Array:
    """Rows x (n, D) `draws` times (draws, n, D), their missing cells drawn from p(x_missing | x_observed).

    By sampling-importance-resampling of z, and then of x|z. The spread of an analysis repeated on each shows what is
    not known of the missing values (Rubin 1987).
    """
    if draws < 1:
        raise InputError(f"`draws` must be at least 1, but got {draws}.")
    rows = fitted.rows(x)
    kind = np.result_type(rows.dtype, fitted.scaling.offset, np.float32)
    filled = np.broadcast_to(rows.astype(kind), (draws, *rows.shape)).copy()
    generator = torch.Generator(fitted.device).manual_seed(derive_seed(seed, RESAMPLED))
    likelihood = _likelihood(fitted)
    for place, outputs, log_w in _weighted(fitted, rows):
        size = sizes(fitted, rows[place])
        chosen = torch.multinomial(
            torch.softmax(log_w, 0).T, draws, replacement=True, generator=generator
        )  # (n, draws)
        for number in range(draws):
            own = outputs[chosen[:, number], torch.arange(len(chosen), device=outputs.device)]
            found = likelihood.sample(own[None], fitted.parameters, generator, size)[0]
            _fill(fitted, filled[number], rows, place, found)
    return filled


def _likelihood(fitted: Fitted) -> Mixed:
    likelihood = fitted.model.likelihood
    if not isinstance(likelihood, Mixed):
        raise InputError(
            f"this model was trained on complete rows with likelihood = {fitted.spec.likelihood}, which gives "
            "missing cells "
            "no meaning; train on a table with missing values, or with likelihood = mixed."
        )
    return likelihood


def _weighted(fitted: Fitted, rows: Array) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For rows with missing cells, in chunks: their numbers, the outputs (S, n, head) at draws of z, and the
    logarithms of the weights (S, n). Noise is keyed by the row, so that a row is filled alike in any table.
    """
    model, parameters, likelihood = fitted.model, fitted.parameters, _likelihood(fitted)
    dtype = fitted.row.dtype
    for place, x, keys in fitted.units.batches(torch.from_numpy(rows).to(fitted.device), POINTS):
        x = x.to(dtype)
        q = evaluate.encode(model, parameters, x).repeated()
        eps = evaluate.fixed_noise(keys, [fitted.spec], model.latent, POINTS, dtype)
        z = q.sample(eps)
        y = model.split(x)[1]
        tiled = None if y is None else y.expand(POINTS, *y.shape).reshape(1, -1, model.condition)
        outputs = model.decode(parameters, z[0].reshape(1, -1, model.latent), y=tiled)[0].view(POINTS, len(x), -1)
        cost = likelihood.nll(outputs, x.expand(POINTS, *x.shape), parameters)
        log_w = model.prior.log_prob(z, parameters)[0] - q.log_prob(eps)[0] - cost
        yield place, outputs, log_w


def sizes(fitted: Fitted, rows: Array) -> Tensor | None:
    """The sizes (n, 1) of rows whose counts are compared with their total."""
    typed, kept = fitted.scaling.typed, fitted.scaling.kept
    if typed is None or not typed.has_size:
        return None
    assert kept is not None
    counts = rows[:, kept[typed.places("count")]].astype(np.float64)
    return torch.from_numpy(typed.sizes(counts)).to(fitted.row)[:, None]


def _fill(fitted: Fitted, filled: Array, rows: Array, place: slice, found: Tensor) -> None:
    """Writes found values (n, modelled columns) into the missing cells; a missing condition stays missing."""
    values = np.full((len(found), len(fitted.scaling.offset)), np.nan, fitted.scaling.offset.dtype)
    values[:, _likelihood(fitted).typed.modelled] = found.cpu().numpy()
    own = as_cells(fitted, values, rows.shape[1])
    missing = np.isnan(rows[place])
    filled[place][missing] = own[missing]


def as_cells(fitted: Fitted, values: Array, width: int, are_means: bool = False) -> Array:
    """Rows in the model's units (n, D_model) in the data's own (n, D): counts are whole, unless they are to be means;
    levels are levels.
    """
    own = fitted.scaling.to_own(values, (width,))
    for j, column in enumerate(fitted.facts.columns):
        if column.condition:
            own[:, j] = np.nan
        elif column.rounded_to is not None:
            own[:, j] = own[:, j] if are_means else np.round(own[:, j], column.rounded_to)
        elif column.has_levels:
            levels = np.array(column.values)
            own[:, j] = levels[np.abs(own[:, j, None] - levels).argmin(1)]
    return own
