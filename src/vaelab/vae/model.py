"""The VAE: encoder, prior, decoder and likelihood, for K stacked members. Pure functions of the parameters."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from vaelab.data.scaling import Typed
from vaelab.engine.convolutions import Convolutions, Grid
from vaelab.engine.encoding import Encoding
from vaelab.engine.networks import (
    LINE,
    MLP,
    Layout,
    Parameters,
    Stacked,
    autocast,
    bucket,
    initial_dense,
    padded_latent,
    widen,
)
from vaelab.errors import InputError
from vaelab.vae.custom_networks import CustomNetworks
from vaelab.vae.likelihoods.likelihood import Likelihood
from vaelab.vae.posterior import Posterior
from vaelab.vae.priors.normal import StandardNormal
from vaelab.vae.priors.prior import Prior, prior_type
from vaelab.vae.spec import Spec


@dataclasses.dataclass(frozen=True)
class Model(Stacked):
    """The shapes that the members of one stack share; everything else is in the (K, P) buffer.

    encoder: x (K, B, D) -> q(z|x); decoder: z (K, B, L) -> outputs (K, B, D) of the likelihood. A condition y
    with C > 0 values is an input of both: rows are [x, y] (K, B, D + C), and the model is p(x|z, y) p(z), q(z|x, y).
    """

    features: int
    hidden: tuple[int, ...]  # padded
    latent: int  # padded
    activation: str
    likelihood: Likelihood
    prior: Prior = dataclasses.field(default_factory=StandardNormal)
    condition: int = 0
    convolutions: Convolutions | None = None  # between the data and the dense layers
    half: bool = False  # matrix products in bfloat16 during training
    custom: CustomNetworks | None = None  # custom networks for encoder or decoder; they see the unpadded `latent_dim`
    latent_dim: int = 0
    grid: Grid | None = None
    encoding: Encoding | None = None  # of typed columns, before the encoder

    @classmethod
    def for_spec(
        cls,
        spec: Spec,
        features: int,
        likelihood: Likelihood,
        condition: int = 0,
        grid: Grid | None = None,
        custom: CustomNetworks | None = None,
        typed: Typed | None = None,
    ) -> Model:
        """`grid` gives the positions of the features in an image or a curve, for convolutions and custom networks;
        `typed` what is known of the columns of a table.
        """
        if typed is not None and custom is not None:
            raise InputError(
                "custom networks take complete numbers, but this table has columns of other types or missing "
                "values; set "
                "likelihood = gaussian, or prepare the columns yourself."
            )
        hidden = tuple(bucket(width) for width in spec.hidden_sizes)
        latent = padded_latent(spec.latent_dim)
        convolutions = None
        if spec.network == "conv":
            assert grid is not None
            convolutions = Convolutions.for_spec(spec, grid)
        encoding = None if typed is None else Encoding(typed)
        model = cls(
            features, hidden, latent, spec.activation, likelihood,
            condition=condition if encoding is None else encoding.condition, convolutions=convolutions,
            half=spec.precision == "bf16",
            custom=custom, grid=grid, latent_dim=spec.latent_dim, encoding=encoding,
        )  # fmt: skip
        return dataclasses.replace(model, prior=prior_type(spec.prior).for_spec(spec, features, model.encode))

    def networks(self, ends: tuple[int, int], hidden: Sequence[int], latent: int, condition: int) -> tuple[MLP, MLP]:
        """Encoder and decoder with given widths; `ends` are the numbers of encoder inputs and decoder outputs."""
        encoder = MLP("encoder", (ends[0] + condition, *hidden, 2 * latent), self.activation)
        decoder = MLP("decoder", (condition + latent, *reversed(hidden), ends[1]), self.activation)
        return encoder, decoder

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows [x, y] (..., D + C) as x (..., D) and y (..., C), None without a condition.

        Conditions of a table are among its D columns, which the likelihood leaves out.
        """
        if self.encoding is not None:
            return rows, self.encoding.given(rows) if self.condition else None
        return (rows[..., : self.features], rows[..., self.features :]) if self.condition else (rows, None)

    @functools.cached_property
    def ends(self) -> tuple[int, int]:
        """Numbers of inputs and outputs of the dense layers: data features and likelihood outputs, or those of the
        convolutions.
        """
        outputs = self.likelihood.head(self.features)
        if self.convolutions is None:
            return self.features if self.encoding is None else self.encoding.width - self.condition, outputs
        if outputs != self.features:
            raise InputError(
                "`network` = conv has one output per pixel, but this likelihood needs more; use network = mlp."
            )
        return self.convolutions.features, self.convolutions.features

    @property
    def map_values(self) -> list[int]:
        """Numbers of values in the convolutions' maps, by stage."""
        if self.convolutions is None:
            return []
        trunk = self.convolutions.trunk
        return [H * W * C for (H, W), C in zip(trunk.sizes[1:], trunk.channels, strict=True)]

    @functools.cached_property
    def padded(self) -> tuple[MLP, MLP]:
        condition = self.condition + -self.condition % LINE
        inputs, outputs = (end + -end % LINE for end in self.ends)
        return self.networks((inputs, outputs), self.hidden, self.latent, condition)

    @property
    def encoder(self) -> MLP:
        return self.padded[0]

    @property
    def decoder(self) -> MLP:
        return self.padded[1]

    @functools.cached_property
    def layout(self) -> Layout:  # type: ignore[override]
        networks = self._with_custom({**self.encoder.shapes, **self.decoder.shapes, **self._outer_shapes})
        return Layout(networks | self.likelihood.shapes(self.features) | self.prior.shapes(self.latent))

    @functools.cached_property
    def statistics(self) -> Layout:  # type: ignore[override]
        """Running statistics of batch norms: Q numbers per member in addition to its P parameters, without gradient."""
        shapes = {} if self.convolutions is None else self.convolutions.statistics
        return Layout(self._with_custom(shapes, statistics=True))

    def _with_custom(self, shapes: dict[str, tuple[int, ...]], statistics: bool = False) -> dict[str, tuple[int, ...]]:
        """Shapes by name, with custom networks in place of the encoder or decoder."""
        if self.custom is None:
            return shapes
        given = self.custom.statistics if statistics else self.custom.initial
        rest = {name: shape for name, shape in shapes.items() if name.partition(".")[0] not in self.custom.parts}
        return rest | {name: tuple(value.shape) for name, value in given.items()}

    @property
    def _outer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the convolutions' parameters, and of the per-feature output bias."""
        if self.convolutions is None:
            return {}
        return self.convolutions.shapes | {"decoder.bias": (1, self.features)}

    @property
    def dropout_units(self) -> int:
        """Hidden units per example with a dropout mask."""
        return 2 * sum(self.hidden)

    def own_shapes(self, spec: Spec) -> dict[str, tuple[int, ...]]:
        """Shapes of a member's parameters without padding. Statistics have no padding; see `statistics`."""
        encoder, decoder = self.networks(self.ends, spec.hidden_sizes, spec.latent_dim, self.condition)
        networks = self._with_custom({**encoder.shapes, **decoder.shapes, **self._outer_shapes})
        return networks | self.likelihood.shapes(self.features) | self.prior.own_shapes

    def initial(self, spec: Spec, x: Tensor, generator: torch.Generator) -> Tensor:
        """One member's initial parameters and statistics, a padded row (P + Q,).

        The log-variance head starts at 0, so that q starts as wide as the prior, which is initially standard normal
        for every kind; the decoder's last bias starts at the best model without latents for the rows x (n, D), so
        that training need not learn it.
        """
        hidden, x = spec.hidden_sizes, self.split(x)[0]
        encoder, decoder = self.networks(self.ends, hidden, spec.latent_dim, self.condition)
        weights = initial_dense("encoder", encoder.widths, generator) | initial_dense(
            "decoder", decoder.widths, generator
        )
        weights[f"encoder.{len(hidden)}.weight"][:, spec.latent_dim :] = 0
        last = f"decoder.{len(hidden)}.bias"
        if self.convolutions is not None:
            weights |= self.convolutions.initial(generator)
            last = "decoder.bias"
        weights[last] = self.likelihood.start(x).float()[None]
        if self.custom is not None:
            weights = {name: w for name, w in weights.items() if name.partition(".")[0] not in self.custom.parts}
            weights |= self.custom.initial | self.custom.statistics
        return self.pad(weights | self.likelihood.initial(x) | self.prior.initial(x, generator), spec)

    def pad(self, weights: dict[str, Tensor], spec: Spec) -> Tensor:
        """A member's own weights and statistics as a padded row (P + Q,)."""
        return self.pad_member(self._heads(weights, spec, widen=True))

    def unpad(self, row: Tensor, spec: Spec) -> dict[str, Tensor]:
        """The inverse of `pad`."""
        shapes = {**self.own_shapes(spec)}
        last = f"encoder.{len(self.hidden)}"
        for name in (f"{last}.weight", f"{last}.bias") if self._has_heads else ():
            shapes[name] = (shapes[name][0], 2 * self.latent)
        return self._heads(self.unpad_member(row, shapes), spec, widen=False)

    @property
    def _has_heads(self) -> bool:
        return self.custom is None or self.custom.encoder is None

    def _heads(self, weights: dict[str, Tensor], spec: Spec, widen: bool) -> dict[str, Tensor]:
        """The encoder's last layer has two concatenated heads, so its padding is in the middle and at the end."""
        weights = dict(weights)
        own, last = spec.latent_dim, f"encoder.{len(self.hidden)}"
        for name in (f"{last}.weight", f"{last}.bias") if self._has_heads else ():
            w = weights[name]
            if widen:
                wide = w.new_zeros(len(w), 2, self.latent)
                wide[:, :, :own] = w.view(len(w), 2, own)
                weights[name] = wide.view(len(w), -1)
            else:
                weights[name] = w.view(len(w), 2, self.latent)[:, :, :own].reshape(len(w), -1)
        return weights

    def encode(self, parameters: Parameters, x: Tensor, dropout: Sequence[Tensor] = ()) -> Posterior:
        """q(z|x) for x (K, B, D), or q(z|x, y) for rows [x, y] (K, B, D + C)."""
        if self.custom is not None and not self._has_heads:
            with autocast(self.half, parameters, x):
                heads = self.custom.encode(parameters, x, self.place)
            mean, log_var = self._full(heads).chunk(2, -1)
            return Posterior(widen(mean, self.latent), widen(log_var, self.latent))
        if self.encoding is not None:
            x = self.encoding(x)
        with autocast(self.half, parameters, x):
            if self.convolutions is not None:
                x = self.convolutions.encode(parameters, x)
            heads = self.encoder(parameters, widen(x, self.encoder.widths[0]), dropout)
        return Posterior(*self._full(heads).split(self.latent, -1))

    def decode(
        self, parameters: Parameters, z: Tensor, dropout: Sequence[Tensor] = (), y: Tensor | None = None
    ) -> Tensor:
        """The likelihood's outputs (K, B, head(D)) for z (K, B, L), and y (K, B, C) if conditional."""
        if self.custom is not None and self.custom.decoder is not None:
            with autocast(self.half, parameters, z):
                return self._full(self.custom.decode(parameters, z[..., : self.latent_dim], self.place))
        if y is not None:  # y first, so that a member's unpadded rows of the first layer stay contiguous
            z = widen(torch.cat([y, z], -1), self.decoder.widths[0])
        with autocast(self.half, parameters, z):
            outputs = self.decoder(parameters, z, dropout)
            if outputs.shape[-1] > self.ends[1]:  # a slice's gradient costs two passes
                outputs = outputs[..., : self.ends[1]]
            if self.convolutions is not None:
                outputs = self.convolutions.decode(parameters, outputs)
        outputs = self._full(outputs)
        return outputs if self.convolutions is None else outputs + parameters["decoder.bias"]

    @property
    def place(self) -> Grid:
        """The positions of the features in an image or a curve."""
        assert self.grid is not None
        return self.grid

    def _full(self, outputs: Tensor) -> Tensor:
        return outputs.float() if outputs.dtype == torch.bfloat16 else outputs
