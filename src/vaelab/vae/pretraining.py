"""From an autoencoder to a VAE with a mixture prior: fits the mixture to the latents and writes it into the row."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.engine.seeds import derive_seed
from vaelab.vae import evaluate
from vaelab.vae.feed import INITIAL_ROWS, Feed
from vaelab.vae.model import Model
from vaelab.vae.spec import Spec

START_VARIANCE = 0.1  # of q(z|x), as a share of the mean variance within components


@torch.no_grad()
def latents(model: Model, row: Tensor, spec: Spec, feed: Feed) -> Tensor:
    """Posterior means (n, latent_dim) of the training rows for one member's parameters (P + Q,)."""
    parameters = model.views(row[None])
    batches = feed.batches("train", 1)
    means = row.new_empty(batches.rows, spec.latent_dim)
    for place, x, _ in batches:
        means[place] = evaluate.encode(model, parameters, x.to(row.dtype)).mean[0, :, : spec.latent_dim]
    return means


@torch.no_grad()
def refitted(model: Model, row: Tensor, feed: Feed) -> dict[str, Tensor]:
    """The likelihood's own parameters that suit reconstructions from the means of some training rows."""
    x, parameters = feed.sample_rows(INITIAL_ROWS).to(row), model.views(row[None])
    y = model.split(x)[1]
    means = evaluate.encode(model, parameters, x).mean
    outputs = model.decode(parameters, means, y=None if y is None else y[None])[0]
    return model.likelihood.refit(outputs.cpu(), x.cpu())


def _factors(covariances: Tensor, full: bool) -> dict[str, Tensor]:
    """Covariances (C, L, L) as the parameters of `priors.Mixture`."""
    if not full:
        return {"prior.log_var": torch.log(covariances.diagonal(0, 1, 2))}
    root = torch.linalg.cholesky(torch.linalg.inv(covariances))
    scale = root.diagonal(0, 1, 2)
    return {
        "prior.log_var": -2 * torch.log(scale),
        "prior.shear": torch.tril(root / scale[:, None], -1).transpose(0, 1),
    }


@torch.no_grad()
def with_mixture(model: Model, row: Tensor, spec: Spec, feed: Feed) -> Tensor:
    """A member's parameters (P + Q,) with the mixture fitted to its latents, in the coordinates of that fit.

    Reconstructions from the means do not change; learned scales start at those of the errors. Raises
    FloatingPointError if the latents are not finite.
    """
    z = latents(model, row, spec, feed).double().cpu().numpy()
    if not np.isfinite(z).all():
        raise FloatingPointError("the latents became non-finite")
    fit = fit_mixture(z, spec.components, derive_seed(spec.seed, 2))
    own = {name: weight.double() for name, weight in model.unpad(row.cpu(), spec).items()}
    basis, centre = torch.from_numpy(np.ascontiguousarray(fit.basis)), torch.from_numpy(fit.centre)[None]
    L, last = spec.latent_dim, f"encoder.{len(spec.hidden_sizes)}"
    for name, offset in ((f"{last}.weight", 0.0), (f"{last}.bias", centre)):
        own[name][:, :L] = (own[name][:, :L] - offset) @ basis
    given, of_z = own["decoder.0.weight"].split([model.condition, spec.latent_dim])
    own["decoder.0.bias"] += centre @ of_z
    own["decoder.0.weight"] = torch.cat([given, torch.linalg.solve(basis, of_z)])
    own |= {name: value.double() for name, value in refitted(model, row, feed).items()}
    covariances = torch.from_numpy(fit.covariances)
    start = START_VARIANCE * (torch.from_numpy(fit.weights) @ covariances.diagonal(0, 1, 2))  # (L,)
    own[f"{last}.bias"][:, L:] = torch.log(start)
    own["prior.logits"] = torch.from_numpy(np.log(fit.weights))[None]
    own["prior.mean"] = torch.from_numpy(fit.means)
    own |= _factors(covariances + torch.diag(start), spec.covariance == "full")
    return model.pad({name: weight.to(row.dtype) for name, weight in own.items()}, spec).to(row.device)


Floats = npt.NDArray[np.float64]


Ints = npt.NDArray[np.int64]


MOST_ROWS = 8_000  # used by EM and the graph


NEIGHBOURS = 10  # per row in the graph


SOLVED_WHOLE = 1_000  # up to this many rows, eigenvectors come from the full matrix


SUBSPACES = (1, 4, 16)  # subspace sizes of ARPACK, in multiples of its default


FLOOR = 1e-4  # least variance of a direction, as a share of the mean one


@dataclasses.dataclass(frozen=True)
class Fit:
    """A mixture in new coordinates z' = (z - centre) @ basis of the latents z (n, L).

    weights (C,), means (C, L) and covariances (C, L, L), in the new coordinates.
    """

    centre: Floats
    basis: Floats
    weights: Floats
    means: Floats
    covariances: Floats


def fit_mixture(latents: npt.NDArray[Any], components: int, seed: int) -> Fit:
    """EM on latents (n, L) with full covariances, then the basis that makes components axis-parallel on average.

    A linear map before the decoder is free: the encoder ends and the decoder begins with one. So z is first
    turned and scaled by linear discriminant analysis of the mixture: in z' the mean covariance within components and
    the covariance between their means are both diagonal, and every z' has mean 0 and variance 1. Diagonal
    components can then separate what they cannot in the autoencoder's own coordinates.

    EM starts from the groups of a nearest-neighbour graph (see `graph_groups`): started from k-means on digits, it
    converges to one group with two classes and another with half of one, with no lower likelihood.
    """
    z = np.asarray(latents, np.float64)
    centre, scale = z.mean(0), max(float(z.std(0).mean()), 1e-12)
    z = (z - centre) / scale
    rng = np.random.default_rng(seed)
    some = z if len(z) <= MOST_ROWS else z[np.sort(rng.choice(len(z), MOST_ROWS, replace=False))]
    return discriminant(z, _em(some, components, rng).predict_proba(z), centre, scale)


def _em(z: Floats, components: int, rng: np.random.Generator) -> Any:
    """The scikit-learn mixture with full covariances, fitted to z (n, L) by EM from the groups of the graph."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    start: dict[str, Any] = {}
    groups = graph_groups(z, components, rng)
    if groups is not None:
        weights, means, covariances = moments(z, np.eye(components)[groups])
        precisions = np.linalg.inv(covariances + FLOOR * np.eye(z.shape[1]))
        start = {"weights_init": weights, "means_init": means, "precisions_init": precisions}
    seed = int(rng.integers(2**31))
    model = GaussianMixture(components, reg_covar=FLOOR, max_iter=200, random_state=seed, **start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # joint training continues from where EM stopped
        return model.fit(z)


def moments(z: Floats, shares: Floats) -> tuple[Floats, Floats, Floats]:
    """The M-step: weights (C,), means (C, L) and covariances (C, L, L) for responsibilities `shares` (n, C)."""
    counts = shares.sum(0) + 1e-9
    means = shares.T @ z / counts[:, None]
    covariances = np.stack(
        [
            (z - mean).T @ ((z - mean) * share[:, None]) / count
            for mean, share, count in zip(means, shares.T, counts, strict=True)
        ]
    )
    return counts / counts.sum(), means, covariances


def graph_groups(z: Floats, groups: int, rng: np.random.Generator) -> Ints | None:
    """Groups (n,) of z (n, L) with few edges between them in its nearest-neighbour graph; None if a row has none.

    Spectral clustering (Ng, Jordan & Weiss 2001): the leading eigenvectors of D^-1/2 A D^-1/2, rows scaled to length
    1, then k-means. A few more eigenvectors than groups are used: cutting across a long, thin group can be cheaper
    than cutting between two groups that touch.
    """
    from scipy import sparse
    from sklearn.cluster import KMeans
    from sklearn.neighbors import kneighbors_graph
    from sklearn.preprocessing import normalize

    n, vectors = len(z), groups + -(-groups // 4)
    if n <= max(NEIGHBOURS, vectors) + 1:
        return None
    graph = kneighbors_graph(z, NEIGHBOURS)
    graph = 0.5 * (graph + graph.T)
    root = sparse.diags_array(1 / np.sqrt(np.asarray(graph.sum(1)).ravel()))
    leading = leading_vectors(root @ graph @ root, vectors, rng)
    found = KMeans(groups, n_init=10, random_state=int(rng.integers(2**31))).fit_predict(normalize(leading))
    return np.asarray(found, np.int64)


def leading_vectors(matrix: Any, count: int, rng: np.random.Generator) -> Floats:
    """Eigenvectors (n, count) of the largest eigenvalues of a sparse symmetric matrix.

    ARPACK can fail on repeated eigenvalues, such as one per connected component: small matrices are solved in full,
    and large ones are retried with larger subspaces. Raises FloatingPointError if these fail too.
    """
    from scipy import linalg, sparse

    n = matrix.shape[0]
    if n <= SOLVED_WHOLE:
        return np.asarray(linalg.eigh(matrix.toarray(), subset_by_index=[n - count, n - 1])[1])
    smallest = max(2 * count + 1, 20)  # ARPACK's default
    for times in SUBSPACES:
        start = rng.random(n)  # else ARPACK draws one, which is not reproducible
        try:
            _, vectors = sparse.linalg.eigsh(matrix, k=count, which="LA", v0=start, ncv=min(n, times * smallest))
        except sparse.linalg.ArpackError as error:
            reason = error
        else:
            return np.asarray(vectors)
    raise FloatingPointError(f"ARPACK finds no eigenvectors for the graph of the latents ({reason})")


def discriminant(z: Floats, shares: Floats, centre: Floats, scale: float) -> Fit:
    """The mixture with responsibilities `shares` (n, C) of centred and scaled latents z (n, L), in its basis."""
    weights, means, covariances = moments(z, shares)
    within = np.einsum("c,cij->ij", weights, covariances) + FLOOR * np.eye(z.shape[1])
    between = (means * weights[:, None]).T @ means
    values, vectors = np.linalg.eigh(within)
    white = vectors / np.sqrt(values)
    spread, turn = np.linalg.eigh(white.T @ between @ white)
    basis = (white @ turn / np.sqrt(1 + spread))[:, ::-1]  # the most discriminative direction first
    turned = basis.T @ (covariances + FLOOR * np.eye(z.shape[1])) @ basis
    return Fit(centre, basis / scale, weights, means @ basis, turned)
