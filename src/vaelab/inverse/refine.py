"""Refinement: damped Gauss-Newton steps on the misfit, for many candidates at once; the same for every method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from vaelab.inverse.forward import Derivative, along, rows_of_jacobian

DAMPING, EASE, BRAKE = 1e-2, 0.2, 4.0  # of Levenberg-Marquardt: at the start, after a success, after a failure
FLAT = 1e-9  # of the mean squared slope: damping of directions in which f is flat, as along a continuum
DIFFERENCE = 1e-5  # of a coordinate, for finite differences


@dataclasses.dataclass(frozen=True)
class Refined:
    """Candidates (n, P) after refinement; the misfit of each after every step (steps + 1, n)."""

    u: Tensor
    misfit: Tensor
    evaluations: int  # of the forward function; a directional derivative counts as one


def refine(
    forward: Callable[[Tensor], Tensor],
    u: Tensor,
    y: Tensor,
    steps: int,
    *,
    derivative: Derivative = "forward",
    done: float | Tensor = 1e-6,
    parts: int = 1,
    penalty: Callable[[Tensor], Tensor] | None = None,
) -> Refined:
    """Up to `steps` Levenberg-Marquardt steps on |forward(u) - y|^2 for each row separately (Levenberg 1944).

    u (n, P): starting points; forward maps (n, P) to (n, M); y (n, M), whose NaN do not count. `penalty` maps (n, P) to
    (n, C), whose squares are added: 0 where u is allowed. The misfit of a row is the root mean square over y, or the
    largest over the `parts` of equal length that y has; a row with a misfit of at most `done`, a number or (n,), and
    without a penalty is finished and costs nothing more. `derivative`: how that of forward is taken. u and y are in
    units in which steps, damping and `done` have one size.

    >>> square = lambda u: u.square()
    >>> start = torch.tensor([[1.0], [-3.0]], dtype=torch.float64)
    >>> refine(square, start, torch.full((2, 1), 4.0), 20).u.flatten().round(decimals=4)
    tensor([ 2., -2.], dtype=torch.float64)
    """
    n, P = u.shape
    u = u.clone()
    M = y.shape[1]
    free = penalty if penalty is not None else lambda u: u.new_zeros(len(u), 0)

    def missed(u: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([torch.where(y.isnan(), 0.0, forward(u) - y), free(u)], 1)

    def misfit(residual: Tensor) -> Tensor:
        return residual[:, :M].reshape(n, parts, -1).square().mean(2).amax(1).sqrt()

    residual = missed(u, y)
    cost = residual.square().sum(1)
    history = [misfit(residual)]
    evaluations = n
    damping = torch.full((n,), DAMPING, dtype=u.dtype)
    slopes = u.new_empty(n, residual.shape[1], P)
    stale = torch.ones(n, dtype=torch.bool)
    for _ in range(steps):
        rows = ((history[-1] > done) | residual[:, M:].any(1)).nonzero()[:, 0]
        if not len(rows):
            history.append(history[-1])
            continue
        fresh = rows[stale[rows]]
        if len(fresh):
            at = residual[fresh, :M] + y[fresh]
            slopes[fresh, :M] = jacobian(forward, u[fresh], derivative, at).masked_fill(y[fresh, :, None].isnan(), 0.0)
            if penalty is not None:
                slopes[fresh, M:] = jacobian(penalty, u[fresh])
            evaluations += len(fresh) * P
            stale[fresh] = False
        J, r = slopes[rows], residual[rows]
        normal = J.mT @ J
        gradient = (J.mT @ r[..., None])[..., 0]
        # The same in all directions: where y does not tell all of u, the step is the shortest to what does.
        scale = normal.diagonal(dim1=1, dim2=2).mean(1, keepdim=True)
        damped = normal + torch.diag_embed(((damping[rows, None] + FLAT) * scale + 1e-300).expand(-1, P))
        step = torch.linalg.solve_ex(damped, gradient)[0]
        trial = u[rows] - torch.where(step.isfinite(), step, 0)
        left = missed(trial, y[rows])
        evaluations += len(rows)
        price = left.square().sum(1)
        better = price < cost[rows]  # False if the cost is NaN
        taken = rows[better]
        u[taken], residual[taken], cost[taken] = trial[better], left[better], price[better]
        stale[taken] = True
        damping[rows] = (damping[rows] * torch.where(better, EASE, BRAKE).to(u)).clamp(1e-12, 1e12)
        history.append(misfit(residual))
    return Refined(u, torch.stack(history), evaluations)


def jacobian(
    forward: Callable[[Tensor], Tensor], u: Tensor, derivative: Derivative = "forward", at: Tensor | None = None
) -> Tensor:
    """d forward / d u (n, M, P): one pass per direction, or per output in reverse mode, serves all rows.

    `at`: forward(u), if it is known, the base point of finite differences.
    """
    n, P = u.shape
    if derivative == "differences" and at is None:
        at = forward(u).detach()
    if derivative == "reverse":
        return rows_of_jacobian(forward, u)
    columns = []
    for direction in torch.eye(P).to(u):
        if derivative == "forward":
            columns.append(along(forward, u, direction.expand(n, -1)))
        else:
            with torch.no_grad():
                assert at is not None
                columns.append((forward(u + DIFFERENCE * direction) - at) / DIFFERENCE)
    return torch.stack(columns, -1)
