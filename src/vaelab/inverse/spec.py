"""The settings of an inverse problem's model: defaults for clean and for noisy problems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaelab.errors import InputError
from vaelab.inverse.problems import Problem
from vaelab.vae.likelihoods import LIKELIHOODS
from vaelab.vae.spec import Spec

# Defaults that differ from Spec's: inverse problems have many examples and narrow posteriors.
DEFAULTS: dict[str, Any] = {
    "likelihood": "gaussian", "latent_dim": 4, "hidden": "512-512-512", "batch_size": 500, "epochs": 20, "lr": 1.5e-3,
    "schedule": "one-cycle", "clip": 20.0, "device": "cpu",
}  # fmt: skip


# Further defaults for noisy y, for which p(x | y) has a density and its draws matter.
NOISY: dict[str, Any] = {"hidden": "128-128-128", "batch_size": 100, "lr": 7e-3}


MANY = 20_000  # up to this many examples, a noisy problem uses 100 epochs


# q is a diagonal Gaussian. If it cannot fit the posterior of z, the KL at beta = 1 makes the learned scale, and so the
# draws, too wide; if it can, as in a linear problem, only beta = 1 is correct. Validation decides.
BETAS = (0.7, 1.0)


def spec_of(problem: Problem, settings: Mapping[str, Any]) -> Spec:
    """The settings of an inverse problem's model, checked: DEFAULTS, for a noisy problem NOISY, then `settings`.

    If y is noisy, beta rises to its value over the first half of the epochs.
    """
    if settings.get("epochs") == "auto":
        raise InputError("an inverse problem needs a number of `epochs`, but got auto; leave it out for the default.")
    n = len(problem.splits["train"])
    chosen = {**DEFAULTS, "batch_size": min(DEFAULTS["batch_size"], max(16, n // 20)), **settings}
    if problem.is_noisy:
        few = {"epochs": 100} if n <= MANY else {}
        chosen = {**DEFAULTS, **NOISY, "batch_size": min(NOISY["batch_size"], max(16, n // 20)), **few, **settings}
        chosen.setdefault("warmup", int(chosen["epochs"]) // 2)
    if {"layers", "width", "taper"} & set(settings) and "hidden" not in settings:
        del chosen["hidden"]
    spec = Spec.create(**chosen)
    if LIKELIHOODS[spec.likelihood].link != "identity" or spec.binarize != "none" or spec.samples != 1:
        densities = " or ".join(name for name, kind in LIKELIHOODS.items() if kind.link == "identity")
        raise InputError(
            f"an inverse problem's x has a density, trained with one draw; set likelihood to {densities}, binarize to "
            "none and samples to 1."
        )
    if spec.wy > 0 and not problem.is_differentiable:
        raise InputError(
            "`wy` needs a forward function with a gradient, but this one has none, or one that finite differences "
            "contradict; leave wy at 0, which ranks samples by f alone."
        )
    return spec


def specs_of(problem: Problem, settings: Mapping[str, Any]) -> list[Spec]:
    """What `train` chooses from: one model, or for a noisy problem without a fixed `beta`, one for each of BETAS."""
    spec = spec_of(problem, settings)
    return [spec.replace(beta=beta) for beta in BETAS] if problem.is_noisy and "beta" not in settings else [spec]
