"""p(x|z): the noise models. Everything is in the model's units (see data.Scaling) and in nats; features are summed."""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from vaelab.errors import unknown_name
from vaelab.networks import Parameters
from vaelab.spec import Spec

VECTORS = 64  # a multiple of two vectors of floats on every machine


class Likelihood(Protocol):
    """What the model asks of a noise model; the contract suite (tests/test_likelihoods.py) runs over every one."""

    @property
    def name(self) -> str: ...

    @property
    def is_density(self) -> bool: ...

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters it learns itself."""

    def initial(self, x: Tensor) -> dict[str, Tensor]:
        """Their initial values, given training rows (N, D)."""

    def nll(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        """-log p(x|z) (...,) in nats for decoder outputs and x (..., D)."""

    def mean(self, outputs: Tensor) -> Tensor:
        """E[x|z] (..., D)."""

    def sample(self, outputs: Tensor, parameters: Parameters, generator: torch.Generator) -> Tensor:
        """One draw of x|z (..., D)."""

    def constant(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Outputs (D,) and own parameters (1, *shape) of the best model without latents for rows x (N, D); doubles."""


def _sigmoid(logits: Tensor) -> Tensor:
    """sigmoid of logits (K, ...) by the vector code alone, so that a member gets the same bits in any stack.

    PyTorch computes what is left over after whole pairs of vectors by scalar code, which rounds otherwise; which
    elements those are would depend on the member's place in the stack. (Activations see multiples of 32 units.)
    """
    n = logits[0].numel()
    if n % VECTORS == 0:
        return torch.sigmoid(logits)
    padded = functional.pad(logits.reshape(len(logits), n), (0, -n % VECTORS))
    return torch.sigmoid(padded)[:, :n].reshape(logits.shape)


class _CrossEntropy(torch.autograd.Function):
    """Bernoulli cross-entropy from logits, summed over features, in as few passes as eager PyTorch allows.

    -x l + log(1 + e^l) = max(l, 0) - x l - log(max(p, 1 - p)), p = sigmoid(l). The factors max(p, 1 - p) lie in
    [1/2, 1], so products of 64 of them cannot underflow and one logarithm serves them all; p serves the gradient too.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, logits: Tensor, x: Tensor) -> Tensor:
        p = _sigmoid(logits)
        factors = (p - 0.5).abs_().add_(0.5)
        for _ in range(6):
            n = factors.shape[-1]
            if n % 2:
                break
            factors = factors[..., : n // 2] * factors[..., n // 2 :]
        linear = torch.addcmul(logits.clamp_min(0), logits, x, value=-1)
        ctx.save_for_backward(p.sub_(x))
        return linear.sum(-1) - factors.log_().sum(-1)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        (residual,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return residual * gradients[0][..., None], None


@dataclasses.dataclass(frozen=True)
class Bernoulli:
    """p(x|z) = prod x^p (1 - p)^(1 - x), p = sigmoid(outputs).

    For 0/1 data a mass; for values in between it is a cross-entropy, whose floor is the data's own entropy.
    """

    name: str = "bernoulli"
    is_density: bool = False

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {}

    def initial(self, x: Tensor) -> dict[str, Tensor]:
        return {}

    def nll(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        return _CrossEntropy.apply(outputs, x)  # type: ignore[no-any-return]

    def mean(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(outputs)

    def sample(self, outputs: Tensor, parameters: Parameters, generator: torch.Generator) -> Tensor:
        return torch.bernoulli(torch.sigmoid(outputs), generator=generator)

    def constant(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        # Half a count of each value keeps a pixel that is constant in training from costing infinitely much later.
        total = sum(part.sum(0, dtype=torch.float64) for part in x.split(1000))  # a sum in doubles copies its rows
        return torch.logit((total + 0.5) / (len(x) + 1)), {}


@dataclasses.dataclass(frozen=True)
class Family:
    """A location-scale density exp(-energy((x - m) / s)) / (s Z), m = outputs.

    `scale` fixes s; otherwise it is learned as floor + exp(raw), one for all features or one per feature. The floor
    keeps a density from growing without bound where data are nearly constant.
    """

    name: str
    kind: Gaussian | Laplace | Huber
    scale: float | None
    per_feature: bool
    floor: float
    is_density: bool = True

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        return {} if self.scale is not None else {"likelihood.scale": (1, features if self.per_feature else 1)}

    def initial(self, x: Tensor) -> dict[str, Tensor]:
        if self.scale is not None:
            return {}
        spread = x.double().std(0, correction=0) if self.per_feature else x.double().std(0, correction=0).mean()
        return {"likelihood.scale": torch.log((spread - self.floor).clamp_min(self.floor)).reshape(1, -1).to(x.dtype)}

    def scale_of(self, parameters: Parameters) -> Tensor | float:
        """s: a number, or (K, 1, 1) or (K, 1, D)."""
        return self.scale if self.scale is not None else self.floor + torch.exp(parameters["likelihood.scale"])

    def nll(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        s = self.scale_of(parameters)
        energy = self.kind.energy((x - outputs) / s).sum(-1)
        features = outputs.shape[-1]
        if isinstance(s, float):
            return energy + features * (math.log(s) + self.kind.log_z)
        return energy + (torch.log(s).expand(*s.shape[:-1], features).sum(-1) + features * self.kind.log_z)

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs

    def sample(self, outputs: Tensor, parameters: Parameters, generator: torch.Generator) -> Tensor:
        u = torch.rand(outputs.shape, generator=generator, dtype=torch.float64, device=outputs.device)
        return outputs + self.scale_of(parameters) * self.kind.quantile(u).to(outputs.dtype)

    def constant(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x = x.double()
        m = x.median(0).values
        for _ in range(self.kind.rounds):
            deviation = (x - m).abs()
            if self.scale is not None:
                s = torch.tensor(self.scale, dtype=x.dtype)
            else:
                s = self.kind.spread(deviation if self.per_feature else deviation.reshape(-1, 1))
                s = s.clamp_min(self.floor)
            m = self.kind.location(x, m, s)
        if self.scale is not None:
            return m, {}
        return m, {"likelihood.scale": torch.log((s - self.floor).clamp_min(1e-30)).reshape(1, 1, -1)}


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """energy(r) = r^2 / 2, Z = sqrt(2 pi)."""

    rounds: int = 2  # of alternating location and scale; the second round's scale is about the final location
    log_z: float = 0.5 * math.log(2 * math.pi)

    def energy(self, r: Tensor) -> Tensor:
        return r.square() * 0.5

    def quantile(self, u: Tensor) -> Tensor:
        standard: Tensor = torch.special.ndtri(u.clamp(1e-16, 1 - 1e-16))
        return standard

    def location(self, x: Tensor, m: Tensor, s: Tensor) -> Tensor:
        return x.mean(0)

    def spread(self, deviation: Tensor) -> Tensor:
        return deviation.square().mean(0).sqrt()


@dataclasses.dataclass(frozen=True)
class Laplace:
    """energy(r) = |r|, Z = 2."""

    rounds: int = 1
    log_z: float = math.log(2)

    def energy(self, r: Tensor) -> Tensor:
        return r.abs()

    def quantile(self, u: Tensor) -> Tensor:
        c = (u - 0.5).clamp(-0.5 + 1e-16, 0.5 - 1e-16)
        return -torch.sign(c) * torch.log1p(-2 * c.abs())

    def location(self, x: Tensor, m: Tensor, s: Tensor) -> Tensor:
        return m

    def spread(self, deviation: Tensor) -> Tensor:
        return deviation.mean(0)


@dataclasses.dataclass(frozen=True)
class Huber:
    """energy(r) = r^2 / 2 for |r| <= d, d |r| - d^2 / 2 beyond.

    Z = sqrt(2 pi) erf(d / sqrt 2) + (2 / d) exp(-d^2 / 2).
    """

    threshold: float
    rounds: int = 20

    @property
    def _core(self) -> float:
        return math.sqrt(2 * math.pi) * math.erf(self.threshold / math.sqrt(2))

    @property
    def _tails(self) -> float:
        return 2 / self.threshold * math.exp(-0.5 * self.threshold**2)

    @property
    def log_z(self) -> float:
        return math.log(self._core + self._tails)

    def energy(self, r: Tensor) -> Tensor:
        return functional.huber_loss(r, torch.zeros_like(r), reduction="none", delta=self.threshold)

    def quantile(self, u: Tensor) -> Tensor:
        d, core, tails = self.threshold, self._core, self._tails
        z = core + tails
        side = (0.5 - (u - 0.5).abs()).clamp_min(1e-300) * z  # mass in the nearer tail, times z
        tail = d - torch.log(side / (0.5 * tails)) / d
        middle = -torch.special.ndtri(0.5 - (0.5 * z - side) / math.sqrt(2 * math.pi)).clamp(-d, d)
        return torch.sign(u - 0.5) * torch.where(side < 0.5 * tails, tail, middle)

    def location(self, x: Tensor, m: Tensor, s: Tensor) -> Tensor:
        weight = self.threshold / ((x - m).abs() / s).clamp_min(self.threshold)  # one reweighted mean (Huber 1964)
        return (weight * x).sum(0) / weight.sum(0)

    def spread(self, deviation: Tensor) -> Tensor:
        # Maximum likelihood: the mean of r energy'(r) is 1, r = deviation / s. It falls with s, so bisection finds it.
        top = deviation.square().mean(0).sqrt().clamp_min(1e-12)
        low, high = 1e-6 * top, 10 * top
        for _ in range(50):
            s = (low * high).sqrt()
            r = deviation / s
            too_small = (r * r.clamp_max(self.threshold)).mean(0) > 1
            low, high = torch.where(too_small, s, low), torch.where(too_small, high, s)
        return (low * high).sqrt()


KINDS: dict[str, Gaussian | Laplace] = {"gaussian": Gaussian(), "laplace": Laplace()}
LIKELIHOODS = ("bernoulli", "gaussian", "laplace", "huber")


def likelihood_for(spec: Spec, is_image: bool) -> Likelihood:
    """The noise model that a resolved spec names. Scales are shares of an image's range, or of a column's deviation."""
    if spec.likelihood == "bernoulli":
        return Bernoulli()
    if spec.likelihood not in LIKELIHOODS:
        raise unknown_name("likelihood", spec.likelihood, LIKELIHOODS)
    kind: Gaussian | Laplace | Huber = Huber(spec.threshold) if spec.likelihood == "huber" else KINDS[spec.likelihood]
    learned = isinstance(spec.sigma, str)
    per_feature = spec.sigma == "feature" or (spec.sigma == "auto" and not is_image)
    floor = 1 / 256 if is_image else 1e-3
    return Family(spec.likelihood, kind, None if learned else float(spec.sigma), learned and per_feature, floor)
