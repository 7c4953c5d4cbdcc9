"""The one VAE: encoder, prior, decoder and likelihood, for K stacked members. Pure functions of the parameters."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vaelab.likelihoods import Likelihood
from vaelab.networks import LINE, MLP, Layout, Parameters, bucket, initial_dense
from vaelab.priors import Posterior, Prior, StandardNormal, prior_for
from vaelab.spec import Spec


@dataclasses.dataclass(frozen=True)
class Model:
    """The shapes that the members of one stack share; everything else is in the (K, P) buffer.

    encoder: x (K, B, D) -> q(z|x); decoder: z (K, B, L) -> outputs (K, B, D) of the likelihood. Under a condition y
    of C > 0 values both see it: rows are [x, y] (K, B, D + C), and the model is p(x|z, y) p(z), q(z|x, y).
    """

    features: int
    hidden: tuple[int, ...]  # padded
    latent: int  # padded
    activation: str
    likelihood: Likelihood
    prior: Prior = dataclasses.field(default_factory=StandardNormal)
    condition: int = 0

    @classmethod
    def for_spec(cls, spec: Spec, features: int, likelihood: Likelihood, condition: int = 0) -> Model:
        hidden = tuple(bucket(width) for width in spec.hidden_sizes)
        latent = bucket(spec.latent_dim, 16)
        model = cls(features, hidden, latent, spec.activation, likelihood, condition=condition)
        return dataclasses.replace(model, prior=prior_for(spec, features, model.encode))

    def networks(self, features: int, hidden: Sequence[int], latent: int, condition: int) -> tuple[MLP, MLP]:
        """Encoder and decoder of given widths."""
        encoder = MLP("encoder", (features + condition, *hidden, 2 * latent), self.activation)
        decoder = MLP("decoder", (condition + latent, *reversed(hidden), features), self.activation)
        return encoder, decoder

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows [x, y] (..., D + C) as x (..., D) and y (..., C), None without a condition."""
        return (rows[..., : self.features], rows[..., self.features :]) if self.condition else (rows, None)

    @functools.cached_property
    def more(self) -> int:
        """Features of padding, silent like padded units (see networks.LINE)."""
        return -self.features % LINE

    @functools.cached_property
    def padded(self) -> tuple[MLP, MLP]:
        condition = self.condition + -self.condition % LINE
        return self.networks(self.features + self.more, self.hidden, self.latent, condition)

    @property
    def encoder(self) -> MLP:
        return self.padded[0]

    @property
    def decoder(self) -> MLP:
        return self.padded[1]

    @functools.cached_property
    def layout(self) -> Layout:
        networks = {**self.encoder.shapes, **self.decoder.shapes}
        return Layout(networks | self.likelihood.shapes(self.features) | self.prior.shapes(self.latent))

    @functools.cached_property
    def largest_layer(self) -> int:
        """Weights of the largest layer, padding included."""
        return max(block.size for block in self.layout)

    @property
    def dropout_units(self) -> int:
        """Hidden units per example that dropout draws a number for."""
        return 2 * sum(self.hidden)

    def own_shapes(self, spec: Spec) -> dict[str, tuple[int, ...]]:
        """Shapes of a member's parameters without padding."""
        encoder, decoder = self.networks(self.features, spec.hidden_sizes, spec.latent_dim, self.condition)
        networks = {**encoder.shapes, **decoder.shapes}
        return networks | self.likelihood.shapes(self.features) | self.prior.own_shapes

    def initial(self, spec: Spec, x: Tensor, generator: torch.Generator) -> Tensor:
        """One member's initial parameters, a padded row (P,).

        The log-variance head starts at 0, so that q starts as wide as the prior, which is standard normal at first,
        whatever its kind; the decoder's last bias starts at the best model without latents for the rows x (n, D), which
        no epoch need then be spent on.
        """
        hidden, x = spec.hidden_sizes, self.split(x)[0]
        encoder, decoder = self.networks(self.features, hidden, spec.latent_dim, self.condition)
        weights = initial_dense("encoder", encoder.widths, generator) | initial_dense(
            "decoder", decoder.widths, generator
        )
        weights[f"encoder.{len(hidden)}.weight"][:, spec.latent_dim :] = 0
        weights[f"decoder.{len(hidden)}.bias"] = self.likelihood.constant(x)[0].float().clamp(-6, 6)[None]
        return self.pad(weights | self.likelihood.initial(x) | self.prior.initial(x, generator), spec)

    def pad(self, weights: dict[str, Tensor], spec: Spec) -> Tensor:
        """A member's own weights as a padded row (P,)."""
        return self.layout.pad(self._heads(weights, spec, widen=True))

    def unpad(self, row: Tensor, spec: Spec) -> dict[str, Tensor]:
        """The inverse of `pad`."""
        shapes = {**self.own_shapes(spec)}
        last = f"encoder.{len(self.hidden)}"
        for name, rows in (f"{last}.weight", shapes[f"{last}.weight"][0]), (f"{last}.bias", 1):
            shapes[name] = (rows, 2 * self.latent)
        return self._heads(self.layout.unpad(row, shapes), spec, widen=False)

    def _heads(self, weights: dict[str, Tensor], spec: Spec, widen: bool) -> dict[str, Tensor]:
        """The encoder's last layer holds two heads side by side, so its padding lies in the middle and at the end."""
        weights = dict(weights)
        own, last = spec.latent_dim, f"encoder.{len(self.hidden)}"
        for name in (f"{last}.weight", f"{last}.bias"):
            w = weights[name]
            if widen:
                wide = w.new_zeros(len(w), 2, self.latent)
                wide[:, :, :own] = w.view(len(w), 2, own)
                weights[name] = wide.view(len(w), -1)
            else:
                weights[name] = w.view(len(w), 2, self.latent)[:, :, :own].reshape(len(w), -1)
        return weights

    def encode(self, parameters: Parameters, x: Tensor, keep: Sequence[Tensor] = ()) -> Posterior:
        """q(z|x) for x (K, B, D), or q(z|x, y) for rows [x, y] (K, B, D + C)."""
        heads = self.encoder(parameters, widen(x, self.encoder.widths[0]), keep)
        return Posterior(*heads.split(self.latent, -1))

    def decode(self, parameters: Parameters, z: Tensor, keep: Sequence[Tensor] = (), y: Tensor | None = None) -> Tensor:
        """The likelihood's outputs (K, B, D) for z (K, B, L), and y (K, B, C) under a condition."""
        if y is not None:  # y first, so that a member's own rows of the first layer stay together
            z = widen(torch.cat([y, z], -1), self.decoder.widths[0])
        outputs = self.decoder(parameters, z, keep)
        return outputs[..., : self.features] if self.more else outputs  # a slice's gradient costs two passes


def widen(x: Tensor, width: int) -> Tensor:
    """x (..., n) with zeros up to `width`."""
    more = width - x.shape[-1]
    return functional.pad(x, (0, more)) if more else x
