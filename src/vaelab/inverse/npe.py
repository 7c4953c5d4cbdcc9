"""Neural posterior estimation with the `sbi` package, as another method for comparison: a flow for p(x | y)."""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import torch

from vaelab.engine.process import one_thread
from vaelab.inverse.conditional import Coordinates
from vaelab.inverse.problems import Problem

Array = npt.NDArray[Any]
NAME = "neural posterior estimation"
MISSING = "sbi is not installed, so its row is left out; run `pip install vaelab[sbi]`."


def is_installed() -> bool:
    """Whether the optional package is installed."""
    return importlib.util.find_spec("sbi") is not None


def fit(problem: Problem, space: Coordinates, seconds: float, seed: int = 0) -> Callable[[Array, int, int], Array]:
    """A sampler (y, n, seed) -> x (curves, n, *x_shape): a neural spline flow on the problem's training pairs.

    It gets the same input as the network, the coordinates of x and y in `space`, and trains until sbi's convergence
    rule applies, or up to the time limit (Papamakarios & Murray 2016; Durkan et al. 2019; settings of sbi).
    """
    from sbi.inference import NPE

    train_x, train_y = problem.rows("train")
    x, y = space.x_model(train_x).float(), space.y_model(train_y).float()
    with warnings.catch_warnings(), one_thread(), torch.random.fork_rng():
        warnings.simplefilter("ignore")  # of sbi and its dependencies

        def train(epochs: int) -> Any:
            torch.manual_seed(seed)
            inference = NPE(density_estimator="nsf", show_progress_bars=False).append_simulations(x, y)
            return inference.train(max_num_epochs=epochs)

        # One call, as its users train: a resumed one goes on with sbi's count of epochs without improvement, and so
        # stops early. It has no time limit, so how many epochs fit is told by the time of one.
        began = time.perf_counter()
        flow = train(1)
        spent = time.perf_counter() - began
        epochs = int((seconds - spent) / spent)
        if epochs > 1:
            flow = train(epochs)

    def sample(measured: Array, n: int, seed: int) -> Array:
        with warnings.catch_warnings(), one_thread(), torch.random.fork_rng(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            drawn = flow.sample((n,), condition=space.y_model(measured).float()).transpose(0, 1)
        found: Array = space.x_own(drawn.double()).numpy()
        return found

    return sample
