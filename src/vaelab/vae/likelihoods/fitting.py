"""Best models without latents, where no formula gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

VALUES = 500_000  # of the rows that are fitted to
STEPS = 100


def descend(
    cost: Callable[[Tensor, Tensor, dict[str, Tensor]], Tensor],
    x: Tensor,
    outputs: Tensor,
    own: Mapping[str, Tensor],
    expected: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs (head,) and own parameters that minimise the mean of `cost` (1, n, D) over rows x (n, D), by L-BFGS.

    Missing values do not count. Many values are fitted to a part of the rows, evenly spaced. `expected` (N, D) is added
    to the logarithms of the means of counts.
    """
    some = slice(None, None, -(-x.numel() // VALUES))
    x = x[some].double()
    if expected is not None:
        expected = functional.pad(expected[some].double(), (0, outputs.shape[-1] - expected.shape[-1]))
    missing = torch.isnan(x)
    filled = torch.where(missing, x.nanmedian(0).values.nan_to_num(0.0), x)
    count = (~missing).sum(0).clamp_min(1)
    best = outputs.double().clone().requires_grad_()
    leaves = {name: value.double().clone().requires_grad_() for name, value in own.items()}
    optimizer = torch.optim.LBFGS(
        [best, *leaves.values()], max_iter=STEPS, line_search_fn="strong_wolfe", tolerance_change=1e-12
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        out = best.expand(len(filled), -1)
        out = out if expected is None else out + expected
        costs = cost(out[None], filled[None], leaves)[0].masked_fill(missing, 0.0)
        loss: Tensor = (costs.sum(0) / count).sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return best.detach(), {name: value.detach() for name, value in leaves.items()}
