"""The settings of an inverse problem's model: defaults for clean and for noisy problems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaelab.errors import InputError
from vaelab.inverse.problems import Problem
from vaelab.settings.spec import settings_table
from vaelab.vae.likelihoods import LIKELIHOODS
from vaelab.vae.spec import Spec

# Defaults that differ from Spec's: inverse problems have many examples and narrow posteriors.
DEFAULTS: dict[str, Any] = {
    "likelihood": "gaussian", "latent_dim": 4, "hidden": "512-512-512", "batch_size": 500, "epochs": 20, "lr": 1.5e-3,
    "schedule": "one-cycle", "clip": 20.0, "device": "cpu",
}  # fmt: skip


# Further defaults for noisy y, for which p(x | y) has a density and its draws matter.
NOISY: dict[str, Any] = {"hidden": "128-128-128", "batch_size": 100, "lr": 7e-3}


MANY, FEW_EPOCHS = 20_000, 100  # up to this many examples, a noisy problem uses so many epochs


# q is a diagonal Gaussian. If it cannot fit the posterior of z, the KL at beta = 1 makes the learned scale, and so the
# draws, too wide; if it can, as in a linear problem, only beta = 1 is correct. Validation decides.
BETAS = (0.7, 1.0)


DENSITIES = tuple(name for name, kind in LIKELIHOODS.items() if kind.link == "identity")

# What an inverse problem does not let you choose: its x are numbers in a few directions, trained with one draw.
FIXED = (
    "network", "channels", "blocks", "kernel", "norm", "binarize", "samples", "real_likelihood", "count_likelihood",
    "size_factor",
)  # fmt: skip


def settings_rows() -> list[tuple[str, str, str, str]]:
    """Name, default, allowed values and meaning of every setting of an inverse problem.

    >>> settings_rows()[0]
    ('latent_dim', '4', '1 to 4096', 'number of latent dimensions')
    """
    defaults = {**DEFAULTS, **{name: f"{DEFAULTS[name]}; of noisy y {value}" for name, value in NOISY.items()}}
    defaults["epochs"] = f"{DEFAULTS['epochs']}; of noisy y, up to {MANY:,} examples, {FEW_EPOCHS}"
    defaults["beta"] = f"1.0; of noisy y {BETAS[0]} or {BETAS[1]}, by validation"
    defaults["warmup"] = "0; of noisy y half of the epochs"
    choices = {"likelihood": ", ".join(DENSITIES), "epochs": "from 1"}
    return [
        (name, str(defaults.get(name, own)), choices.get(name, allowed), meaning)
        for name, own, allowed, meaning in settings_table(Spec)
        if name not in FIXED
    ]


def spec_of(problem: Problem, settings: Mapping[str, Any]) -> Spec:
    """The settings of an inverse problem's model, checked: DEFAULTS, for a noisy problem NOISY, then `settings`.

    If y is noisy, beta rises to its value over the first half of the epochs.
    """
    if settings.get("network", "mlp") != "mlp":
        raise InputError(
            f"an inverse problem needs network = mlp, but got {settings['network']}: x and y are given along their "
            "principal directions, and exact curves with their spectrum, not as points beside each other; leave it out."
        )
    if settings.get("epochs") == "auto":
        raise InputError("an inverse problem needs a number of `epochs`, but got auto; leave it out for the default.")
    n = len(problem.splits["train"])
    chosen = {**DEFAULTS, "batch_size": min(DEFAULTS["batch_size"], max(16, n // 20)), **settings}
    if problem.is_noisy:
        few = {"epochs": FEW_EPOCHS} if n <= MANY else {}
        chosen = {**DEFAULTS, **NOISY, "batch_size": min(NOISY["batch_size"], max(16, n // 20)), **few, **settings}
        chosen.setdefault("warmup", int(chosen["epochs"]) // 2)
    if {"layers", "width", "taper"} & set(settings) and "hidden" not in settings:
        del chosen["hidden"]
    spec = Spec.create(**chosen)
    if LIKELIHOODS[spec.likelihood].link != "identity" or spec.binarize != "none" or spec.samples != 1:
        raise InputError(
            f"an inverse problem's x has a density, trained with one draw; set likelihood to {' or '.join(DENSITIES)}, "
            "binarize to none and samples to 1."
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
