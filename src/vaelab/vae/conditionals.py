"""What each cell of a table's row is, given the other cells of the row, by a trained VAE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.vae import evaluate, imputation
from vaelab.vae.likelihoods.mixed import Mixed

if TYPE_CHECKING:
    from vaelab.vae.fitted import Fitted

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

POINTS = 64  # of z, drawn for each hidden cell and weighted
ROUNDS = 3  # of encoding a row; after each, its hidden cell holds what is expected there


def width(fitted: Fitted) -> int:
    """Number of columns that the model gives a probability: constant ones and conditions have none."""
    typed = fitted.scaling.typed
    return fitted.model.features if typed is None else typed.modelled.stop


@torch.no_grad()
def surprise(fitted: Fitted, rows: Array, cells: Ints) -> Floats:
    """-log p(x_j | the other cells of the row) in nats (c,), in the data's own units, NaN where the cell is missing.

    By self-normalised importance weights of draws z_k from q(z | x without x_j), w_k ~ p(the others, z_k) / q(z_k):

        -log sum_k w_k p(x_j | z_k).

    rows: (n, D), in the data's own units. cells: (c, 2), the number of a row and the number of a column, below
    `width`, in the order of the model.
    """
    found = np.empty(len(cells))
    for place, x, j, outputs, weights in _weighted(fitted, rows, cells):
        costs = fitted.model.likelihood.cost(outputs, x.expand(POINTS, *x.shape), fitted.parameters)
        own = _of_cells(costs, j) - weights
        value = -torch.logsumexp(-own, 0)
        found[place] = value.masked_fill(torch.isnan(_of_cells(x[None], j)[0]), torch.nan).double().cpu().numpy()
    return found


@torch.no_grad()
def expected(fitted: Fitted, rows: Array, cells: Ints) -> Array:
    """What is expected in each cell (c,), in the data's own units, given the other cells of its row: a mean, of
    counts not whole, of positive numbers about the median, of levels the most likely one. Arguments as of `surprise`.
    """
    columns = cells[:, 1] if fitted.scaling.kept is None else fitted.scaling.kept[cells[:, 1]]
    found = np.empty(len(cells), np.result_type(fitted.scaling.offset, np.float32))
    for place, x, j, outputs, weights in _weighted(fitted, rows, cells):
        filled = _filled(fitted, x, j, outputs, weights, rows[cells[place, 0]])
        values = filled.cpu().numpy().astype(fitted.scaling.offset.dtype)
        own = imputation.as_cells(fitted, values, rows.shape[1], are_means=True)
        found[place] = own[np.arange(len(own)), columns[place]]
    return found


def _weighted(fitted: Fitted, rows: Array, cells: Ints) -> Iterator[tuple[slice, Tensor, Tensor, Tensor, Tensor]]:
    """For cells, in chunks: their numbers, their rows x (m, D) and columns (m,) in the model's units, the outputs
    (S, m, head) at draws of z given the other cells, and the logarithms of the weights (S, m), which add up to 1.

    An encoder that has seen no missing cells knows best what to do with what is expected there: this is found by
    encoding the row again. The first time, the mean stands for it.
    """
    model, parameters, likelihood = fitted.model, fitted.parameters, fitted.model.likelihood
    dtype = fitted.row.dtype
    numbers = torch.from_numpy(cells).to(fitted.device)
    raw = torch.from_numpy(rows).to(fitted.device)[numbers[:, 0]]
    neutral = torch.nan if isinstance(likelihood, Mixed) else 0.0 if likelihood.link == "identity" else 0.5
    for place, x, keys in fitted.units.batches(raw, POINTS):
        x, j = x.to(dtype), numbers[place, 1]
        is_hidden = torch.zeros_like(x, dtype=torch.bool).scatter(1, j[:, None], True)
        eps = evaluate.fixed_noise(keys, [fitted.spec], model.latent, POINTS, dtype)
        hidden, is_hidden = x.masked_fill(is_hidden, neutral), is_hidden[:, : width(fitted)]
        y = model.split(x)[1]
        tiled = None if y is None else y.expand(POINTS, *y.shape).reshape(1, -1, model.condition)
        for left in range(ROUNDS - 1, -1, -1):
            q = evaluate.encode(model, parameters, hidden).repeated()
            z = q.sample(eps)
            outputs = model.decode(parameters, z[0].reshape(1, -1, model.latent), y=tiled)[0].view(POINTS, len(x), -1)
            costs = likelihood.cost(outputs, hidden.expand(POINTS, *x.shape), parameters).masked_fill(is_hidden, 0.0)
            log_w = model.prior.log_prob(z, parameters)[0] - q.log_prob(eps)[0] - costs.sum(-1)
            weights = torch.log_softmax(log_w, 0)
            if left:
                hidden = _filled(fitted, x, j, outputs, weights, rows[cells[place, 0]])
        yield place, x, j, outputs, weights


def _filled(fitted: Fitted, x: Tensor, j: Tensor, outputs: Tensor, weights: Tensor, rows: Array) -> Tensor:
    """Rows x (m, D) with the expectation of columns j (m,) in their place."""
    likelihood, shares = fitted.model.likelihood, weights.exp()[..., None]
    if isinstance(likelihood, Mixed):
        found = likelihood.expectation(outputs, shares, fitted.parameters, imputation.sizes(fitted, rows))
        found = torch.minimum(found, torch.from_numpy(likelihood.typed.highest[likelihood.typed.modelled]).to(found))
    else:
        found = likelihood.expectation(outputs, shares, fitted.parameters)
    return x.scatter(1, j[:, None], found.gather(1, j[:, None]))


def _of_cells(values: Tensor, j: Tensor) -> Tensor:
    """The entries (S, m) of columns j (m,) of values (S, m, D)."""
    return values.gather(-1, j[None, :, None].expand(len(values), -1, 1))[..., 0]
