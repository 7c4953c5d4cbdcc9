"""A Gaussian mixture on points of a latent space, fitted by expectation-maximisation (scikit-learn's)."""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from scipy.special import logsumexp, xlogy
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_is_fitted, validate_data

from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError, unknown_name

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Covariance = Literal["full", "tied", "diag", "spherical"]
PIECE = 8_192  # points whitened at once


class LatentMixture(DensityMixin, BaseEstimator):  # type: ignore[misc]
    """p(z) = sum_k w_k N(z; m_k, C_k), fitted by expectation-maximisation from several starts; the best one is kept.

    Components are ordered by weight, the heaviest first.

    Parameters
    ----------
    components : int, default=10
        Number of Gaussians, at most the number of points.
    covariance : {'full', 'tied', 'diag', 'spherical'}, default='full'
        The shape of C_k, as in scikit-learn's GaussianMixture.
    starts : int, default=3
        EM runs from k-means with different seeds; the highest likelihood wins.
    max_iter : int, default=200
        Maximum iterations of one start.
    tol : float, default=1e-3
        A start ends when an iteration gains less than this, in nats per point.
    floor : float, default=1e-6
        Added to every variance, so that no component collapses onto a single point.
    seed : int, default=0

    Attributes
    ----------
    weights_ : ndarray of shape (K,)
    means_ : ndarray of shape (K, L)
    covariances_ : ndarray of shape (K, L, L)
        Full matrices for every `covariance`.
    log_likelihoods_ : ndarray of shape (iterations,)
        Mean log p(z) over the points, in nats, at each iteration of the kept start.
    starts_ : list of Start
        The result of each start.
    converged_ : bool
    n_iter_ : int
    n_features_in_ : int

    Raises
    ------
    vaelab.errors.InputError
        A ValueError: a parameter out of range, or more components than points.

    References
    ----------
    Dempster, Laird and Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> z = np.concatenate([rng.normal(-3, 1, (200, 2)), rng.normal(3, 1, (100, 2))])
    >>> mixture = LatentMixture(components=2).fit(z)
    >>> mixture.weights_.round(2).tolist(), mixture.predict([[3.0, 3.0]]).tolist()
    ([0.67, 0.33], [1])
    """

    def __init__(
        self,
        components: int = 10,
        covariance: Covariance = "full",
        starts: int = 3,
        max_iter: int = 200,
        tol: float = 1e-3,
        floor: float = 1e-6,
        seed: int = 0,
    ):
        self.components = components
        self.covariance = covariance
        self.starts = starts
        self.max_iter = max_iter
        self.tol = tol
        self.floor = floor
        self.seed = seed

    def fit(self, X: Any, y: Any = None, dims: Any = None) -> Self:
        """Fit to points X (n, L); y is ignored.

        dims: which dimensions (L,) tell components apart, by default all. In the others every component has the mean
            and the covariance of all points: dimensions of noise have no parameters of each component to fit.
        """
        self._check_parameters()
        z = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        if self.components > len(z):
            raise InputError(
                f"a mixture needs at least as many points as components, but got {len(z)} points (n_samples) for "
                f"{self.components}; use fewer `components`."
            )
        free = np.ones(z.shape[1], dtype=np.bool_) if dims is None else np.asarray(dims, dtype=np.bool_)
        found = [self._start(z[:, free], derive_seed(self.seed, s) % 2**32) for s in range(self.starts)]
        best = max(found, key=lambda one: one.lower_bound_)  # the first of equals
        self._keep(*_over(z, free, best, self.floor))
        self.free_ = int(free.sum())
        self.log_likelihoods_ = np.array(best.lower_bounds_)
        self.converged_, self.n_iter_ = bool(best.converged_), int(best.n_iter_)
        mixtures = [self.of(*_over(z, free, one, self.floor)) for one in found]
        self.starts_ = [
            Start(float(one.lower_bound_), bool(one.converged_), mixture)
            for one, mixture in zip(found, mixtures, strict=True)
        ]
        return self

    def _check_parameters(self) -> None:
        for name in ("components", "starts", "max_iter"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InputError(f"`{name}` must be a whole number of at least 1, but got {value!r}.")
        for name in ("tol", "floor"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, float | int | np.number) or not 0 <= value < math.inf:
                raise InputError(f"`{name}` must be a number of at least 0, but got {value!r}.")
        if self.covariance not in get_args(Covariance):
            raise unknown_name("covariance", str(self.covariance), get_args(Covariance))

    def _start(self, z: Floats, seed: int) -> Any:
        em = GaussianMixture(
            int(self.components), covariance_type=self.covariance, max_iter=int(self.max_iter), tol=self.tol,
            reg_covar=self.floor, random_state=seed,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # `converged_` says it
            try:
                return em.fit(z)
            except ValueError as error:  # scikit-learn's word for a variance of 0
                if "ill-defined empirical covariance" not in str(error):
                    raise
                raise InputError(
                    f"a component has no variance in some direction: `floor` = {self.floor:g} is too small for points "
                    f"so alike; raise it, such as to 1e-6, or use fewer than {self.components} `components`."
                ) from error

    def _keep(self, weights: Floats, means: Floats, covariances: Floats) -> None:
        order = np.argsort(-weights, kind="stable")
        self.weights_, self.means_, self.covariances_ = weights[order], means[order], covariances[order]

    @classmethod
    def of(cls, weights: Any, means: Any, covariances: Any, covariance: Covariance = "full") -> Self:
        """A mixture from its parameters: weights (K,) that sum to 1, means (K, L), covariances (K, L, L).

        Variances (K, L) are treated as diagonal covariances. covariance: the shape they were restricted to.

        >>> LatentMixture.of([1.0], [[0.0, 0.0]], [[1.0, 1.0]]).score_samples([[0.0, 0.0]]).round(4).tolist()
        [-1.8379]
        """
        w, m = np.asarray(weights, dtype=np.float64), np.asarray(means, dtype=np.float64)
        c = np.asarray(covariances, dtype=np.float64)
        c = np.stack([np.diag(row) for row in c]) if c.ndim == 2 else c
        K, L = m.shape
        if w.shape != (K,) or c.shape != (K, L, L):
            raise InputError(f"a mixture of {K} means needs weights ({K},) and covariances ({K}, {L}, {L}); reshape.")
        if not (w >= 0).all() or not math.isclose(w.sum(), 1, abs_tol=1e-5):
            raise InputError(f"the weights of a mixture must be at least 0 and sum to 1, but sum to {w.sum():g}.")
        mixture = cls(components=K, covariance=covariance)
        mixture._keep(w / w.sum(), m, c)
        mixture.n_features_in_ = mixture.free_ = L
        _cholesky(mixture.covariances_)
        return mixture

    def widened(self, variance: Any) -> Self:
        """This mixture with variances (L,) added to every component: the mixture of points with this noise added.

        Fitted to posterior means and widened by the mean posterior variance it is the mixture of the aggregate
        posterior q(z) = E_x q(z|x), if variances do not depend on x.
        """
        check_is_fitted(self)
        wide = self.covariances_ + np.diag(np.asarray(variance, np.float64))
        return self.of(self.weights_, self.means_, wide, self.covariance)

    def _joint(self, X: Any) -> Floats:
        """log w_k + log N(z; m_k, C_k), nats, (n, K)."""
        check_is_fitted(self)
        z = validate_data(self, X, dtype=np.float64, reset=False)
        (n, L), K = z.shape, len(self.weights_)
        joint = np.empty((n, K))
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights_)
        for k, factor in enumerate(_cholesky(self.covariances_)):
            whiten = solve_triangular(factor, np.eye(L), lower=True).T
            constant = log_weights[k] + np.log(np.diag(whiten)).sum() - 0.5 * L * math.log(2 * math.pi)
            for start in range(0, n, PIECE):
                away = (z[start : start + PIECE] - self.means_[k]) @ whiten
                joint[start : start + PIECE, k] = constant - 0.5 * np.einsum("nl,nl->n", away, away)
        return joint

    def score_samples(self, X: Any) -> Floats:
        """log p(z) of points X (n, L), in nats (n,)."""
        return np.asarray(logsumexp(self._joint(X), axis=1))

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`, in nats per point."""
        return float(self.score_samples(X).mean())

    def predict_proba(self, X: Any) -> Floats:
        """The posterior over components p(k|z) (n, K); rows sum to 1."""
        joint = self._joint(X)
        joint -= joint.max(1, keepdims=True)
        shares: Floats = np.exp(joint)
        shares /= shares.sum(1, keepdims=True)
        return shares

    def predict(self, X: Any) -> Ints:
        """The component with the highest posterior (n,)."""
        return np.asarray(self._joint(X).argmax(1))

    def sample(self, n: int, seed: int = 0, weights: Any = None) -> Floats:
        """Points (n, L) drawn from the mixture, or with other weights (K,) from its components."""
        check_is_fitted(self)
        rng = np.random.default_rng(seed)
        share = self.weights_ if weights is None else np.asarray(weights, dtype=np.float64)
        chosen = rng.choice(len(share), n, p=share / share.sum())
        noise = rng.standard_normal((n, self.means_.shape[1]))
        points: Floats = self.means_[chosen] + np.einsum("nij,nj->ni", _cholesky(self.covariances_)[chosen], noise)
        return points

    def bic(self, X: Any) -> float:
        """The Bayesian information criterion on points X (n, L): -2 sum log p(z) + P log n, lower is better.

        P counts the free parameters. It compares mixtures on the same points: those of one encoder.
        """
        scores = self.score_samples(X)
        K, L = len(self.weights_), self.free_
        shape = {"full": K * L * (L + 1) // 2, "tied": L * (L + 1) // 2, "diag": K * L, "spherical": K}
        return float(-2 * scores.sum() + (K - 1 + K * L + shape[self.covariance]) * math.log(len(scores)))

    def icl(self, X: Any) -> float:
        """The integrated completed likelihood on points X (n, L): BIC + 2 sum_i H(p(k|z_i)), lower is better.

        The entropy H makes a component cost that only refines the shape of another one, so that components are
        clusters (Biernacki et al. 2000).
        """
        shares = self.predict_proba(X)
        return float(self.bic(X) - 2 * xlogy(shares, shares).sum())

    def stability(self, X: Any) -> float | None:
        """Mean adjusted Rand index between the assignments of X by each pair of starts; None with one start.

        1: every seed finds the same clusters; 0: they agree only by chance.
        """
        check_is_fitted(self)
        found = [start.mixture.predict(X) for start in getattr(self, "starts_", ())]
        pairs = [adjusted_rand_score(a, b) for a, b in itertools.combinations(found, 2)]
        return float(np.mean(pairs)) if pairs else None


@dataclasses.dataclass(frozen=True)
class Start:
    """One EM run: its final mean log-likelihood in nats per point, and its mixture."""

    log_likelihood: float
    converged: bool
    mixture: LatentMixture


def _over(z: Floats, free: npt.NDArray[np.bool_], em: Any, floor: float) -> tuple[Floats, Floats, Floats]:
    """Weights (K,), means (K, L) and covariances (K, L, L) over all dimensions of a scikit-learn mixture of some."""
    K = len(em.weights_)
    every = np.atleast_2d(np.cov(z.T, bias=True)) + floor * np.eye(len(free))
    means, covariances = np.tile(z.mean(0), (K, 1)), np.tile(every * ~(free ^ free[:, None]), (K, 1, 1))
    means[:, free], covariances[:, np.outer(free, free)] = em.means_, _full(em).reshape(K, -1)
    return em.weights_, means, covariances


def _full(em: Any) -> Floats:
    """The covariances (K, L, L) of a scikit-learn mixture of any shape."""
    K, L = em.means_.shape
    shapes = {
        "full": lambda c: c,
        "tied": lambda c: np.broadcast_to(c, (K, L, L)),
        "diag": lambda c: np.stack([np.diag(row) for row in c]),
        "spherical": lambda c: c[:, None, None] * np.eye(L),
    }
    return np.array(shapes[em.covariance_type](em.covariances_), dtype=np.float64)


def _cholesky(covariances: Floats) -> Floats:
    try:
        return np.asarray(np.linalg.cholesky(covariances))
    except np.linalg.LinAlgError:
        raise InputError("a covariance of the mixture is not positive definite; raise its `floor`.") from None
