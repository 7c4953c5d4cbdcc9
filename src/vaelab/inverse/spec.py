"""The settings of an inverse problem's model: what they are by default, for clean and for noisy problems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaelab.errors import InputError
from vaelab.inverse.problems import Problem
from vaelab.vae.spec import Spec

# What an inverse problem's model differs in from Spec's defaults: its examples are many, its posteriors narrow.
DEFAULTS: dict[str, Any] = {
    "likelihood": "gaussian", "latent_dim": 4, "hidden": "512-512-512", "batch_size": 500, "epochs": 20, "lr": 1.5e-3,
    "clip": 20.0, "device": "cpu",
}  # fmt: skip


# And where y does not follow from x alone, so that p(x | y) has a density and draws of it are what counts.
NOISY: dict[str, Any] = {"hidden": "128-128-128", "batch_size": 100, "lr": 7e-3}


MANY = 20_000  # examples up to which a noisy problem takes 100 epochs


# q is a diagonal Gaussian. Where it cannot follow the posterior of z, its price at beta = 1 makes the learned scale,
# and with it the draws, too wide; where it can, as in a linear problem, only beta = 1 is right. Validation says which.
BETAS = (0.7, 1.0)


def spec_of(problem: Problem, settings: Mapping[str, Any]) -> Spec:
    """The settings of an inverse problem's model, checked: DEFAULTS, of a noisy problem NOISY, then `settings`.

    Where y is noisy, beta rises to its value over the first half of the epochs.
    """
    n = len(problem.splits["train"])
    chosen = {**DEFAULTS, "batch_size": min(DEFAULTS["batch_size"], max(16, n // 20)), **settings}
    if problem.is_noisy:
        few = {"epochs": 100} if n <= MANY else {}
        chosen = {**DEFAULTS, **NOISY, "batch_size": min(NOISY["batch_size"], max(16, n // 20)), **few, **settings}
        chosen.setdefault("warmup", int(chosen["epochs"]) // 2)
    if {"layers", "width", "taper"} & set(settings) and "hidden" not in settings:
        del chosen["hidden"]
    spec = Spec.create(**chosen)
    if spec.likelihood == "bernoulli" or spec.binarize != "none" or spec.samples != 1:
        raise InputError(
            "an inverse problem's x is a density with one importance sample: likelihood gaussian, laplace or huber, "
            "binarize none, samples 1."
        )
    if spec.wy > 0 and not problem.is_differentiable:
        raise InputError(
            "`wy` needs a forward function with a gradient, but this one has none; leave wy at 0, which ranks samples "
            "by f alone."
        )
    return spec


def specs_of(problem: Problem, settings: Mapping[str, Any]) -> list[Spec]:
    """What `train` chooses from: one model, or of a noisy problem whose `beta` is not set, one for each of BETAS."""
    spec = spec_of(problem, settings)
    return [spec.replace(beta=beta) for beta in BETAS] if problem.is_noisy and "beta" not in settings else [spec]
