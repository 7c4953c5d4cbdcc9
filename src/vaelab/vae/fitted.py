"""A trained VAE: encode, decode, reconstruct, sample, score; saved to and loaded from a run folder."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic
import torch
from torch import Tensor

from vaelab import store
from vaelab.data import Column, Dataset, Reading, Scaling, rows_for
from vaelab.data.dataset import LabelKind, names_of
from vaelab.data.scaling import Typed
from vaelab.data.style import ISO, Style
from vaelab.data.values import refuse_missing
from vaelab.engine.rows import Units, as_tensor, grid_of
from vaelab.engine.seeds import derive_seed
from vaelab.errors import InputError, StoreError, shown
from vaelab.settings import checks
from vaelab.settings.yardsticks import SEARCH_DRAWS
from vaelab.vae import conditions, evaluate, imputation
from vaelab.vae.custom_networks import CustomNetworks
from vaelab.vae.evaluate import Bound, MutualInformation
from vaelab.vae.feed import Feed
from vaelab.vae.likelihoods.likelihood import likelihood_for
from vaelab.vae.model import Model
from vaelab.vae.modules import Decoder, Encoder
from vaelab.vae.spec import Spec

Array = npt.NDArray[Any]
DRAWS = 1  # seed part for draws of x|z; draws of z use the seed itself
MOST_DRAWS = 100_000  # of z, or of what is missing
MOST_VALUES = 1 << 27  # of one example
PIECE = 1024  # points that are decoded at once
SCALING_ARRAYS = ("offset", "scale", "kept", "fill")
TYPED_ARRAYS = ("base", "center", "spread", "least", "size", "highest", "filling", "conditions")


@dataclasses.dataclass(frozen=True)
class DataFacts:
    """What a trained model stores about its data: enough to accept new examples and to reload the old ones."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    classes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    split_seed: int = 0
    fingerprint: str = ""
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    condition: int = 0
    custom: tuple[str, ...] = ()  # which of encoder and decoder are custom networks
    style: Style = ISO
    label_kind: LabelKind = "text"

    @classmethod
    def of(cls, data: Dataset) -> DataFacts:
        return cls(
            data.name, data.shape, str(data.x.dtype), data.classes, data.columns, data.split_seed,
            data.fingerprint, dict(data.source), data.condition, style=data.style,
            label_kind=data.label_kind,
        )  # fmt: skip

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> DataFacts:
        """From the content of a data.json; raises ValueError if it cannot be that."""
        known = {f.name: facts[f.name] for f in dataclasses.fields(cls) if f.name in facts}
        found = pydantic.TypeAdapter(cls).validate_json(json.dumps(known), strict=True)
        features = math.prod(found.shape)
        if not found.shape or min(found.shape) < 1 or features > MOST_VALUES:
            raise ValueError(f"examples cannot have the shape {found.shape}")
        if np.dtype(found.dtype).kind not in "fiub":
            raise ValueError(f"examples cannot be of {found.dtype}")
        if (found.columns and len(found.columns) != features) or not 0 <= found.condition < features:
            raise ValueError(f"{features} values have {len(found.columns)} columns, {found.condition} of them given")
        if any(len(column.levels) != len(column.values) for column in found.columns):
            raise ValueError("a column has other levels than values")
        return found

    @property
    def features(self) -> tuple[str, ...]:
        """The names of a table's columns; empty if they have none."""
        return names_of(self.columns)

    @property
    def reading(self) -> Reading:
        """How the data were read; new examples are read alike."""
        known = {} if self.style == ISO else {"decimal": self.style.decimal}  # few rows may not tell it
        return Reading.from_dict({**self.source, **known})


def scaling_arrays(scaling: Scaling) -> dict[str, Array]:
    """A scaling as arrays by name, for a run folder."""
    parts = {f"scaling.{name}": getattr(scaling, name) for name in SCALING_ARRAYS}
    if scaling.typed is not None:
        parts |= {f"scaling.{name}": getattr(scaling.typed, name) for name in TYPED_ARRAYS}
    return {name: array for name, array in parts.items() if array is not None}


def take_scaling(arrays: dict[str, Array], columns: Sequence[Column] = (), dequantise: bool = False) -> Scaling:
    """The scaling from a run folder's arrays, for data with these columns; removes its entries from them."""
    parts: dict[str, Any] = {name: arrays.pop(f"scaling.{name}", None) for name in SCALING_ARRAYS}
    known = {name: arrays.pop(f"scaling.{name}") for name in TYPED_ARRAYS if f"scaling.{name}" in arrays}
    typed = Typed(tuple(columns[j] for j in parts["kept"]), **known) if known else None
    return Scaling(**parts, dequantise=dequantise, typed=typed)


class Fitted:
    """One trained model, ready to use. Inputs and outputs are arrays in the data's own units.

    `row` (1, P + Q) contains parameters and statistics; scores in float64 do not depend on the batch.
    """

    def __init__(
        self,
        spec: Spec,
        facts: DataFacts,
        scaling: Scaling,
        row: Tensor,
        folder: Path | None = None,
        custom: CustomNetworks | None = None,
    ):
        self.custom = custom
        self.spec, self.facts, self.scaling, self.folder = spec, facts, scaling, folder
        self.device = row.device
        self.units = Units(scaling, spec.binarize, self.device)
        self.row = row

    def __repr__(self) -> str:
        spec = self.spec
        where = f", {str(self.folder)!r}" if self.folder else ""
        return f"Fitted({self.facts.name}, latent_dim={spec.latent_dim}, {spec.layers_text}, {spec.likelihood}{where})"

    @functools.cached_property
    def model(self) -> Model:
        return _model(self.spec, self.facts, self.scaling, self.custom)

    @property
    def is_conditional(self) -> bool:
        """Whether some columns are given rather than modelled: p(x | c)."""
        return self.model.encoding is not None and self.model.condition > 0

    @property
    def parameters(self) -> dict[str, Tensor]:
        return self.model.views(self.row)

    @property
    def log_jacobian(self) -> float:
        return self.model.likelihood.log_jacobian(self.scaling, self.model.features)

    @classmethod
    def of(cls, feed: Feed, spec: Spec, row: Tensor, custom: CustomNetworks | None = None) -> Fitted:
        """The model whose parameters and statistics (P + Q,) were trained on `feed`."""
        facts = dataclasses.replace(DataFacts.of(feed.data), custom=() if custom is None else tuple(custom.parts))
        return cls(spec, facts, feed.units.scaling, row[None].clone(), custom=custom)

    def double(self) -> Fitted:
        """The same model in float64, whose results do not depend on which rows are computed together."""
        return Fitted(self.spec, self.facts, self.scaling, self.row.double(), self.folder, self.custom)

    def rows(self, x: Any) -> Array:
        """New examples as checked rows (n, D) in the data's own units; columns of a table are selected by name."""
        facts = self.facts
        rows = rows_for(x, facts.shape, dtype_hint=facts.dtype, columns=facts.columns, reading=facts.reading)
        if self.scaling.typed is None:
            refuse_missing(rows, facts.features, "train on a table with missing values, or with likelihood = mixed")
        self.model.likelihood.check_rows(rows, self.scaling)
        return np.ascontiguousarray(rows)

    def _raw(self, x: Any) -> Tensor:
        return as_tensor(self.rows(x)).to(self.device)

    @torch.no_grad()
    def encode(self, x: Any) -> tuple[Array, Array]:
        """Mean and standard deviation of q(z|x), each (n, latent_dim), for examples x (n, *shape)."""
        batches, own = self.units.batches(self._raw(x), 1), slice(self.spec.latent_dim)
        mean, std = self.row.new_empty(2, batches.rows, self.spec.latent_dim)
        for place, piece, _ in batches:
            q = evaluate.encode(self.model, self.parameters, piece.to(self.row.dtype))
            mean[place], std[place] = q.mean[0, :, own], torch.exp(0.5 * q.log_var[0, :, own])
        return mean.cpu().numpy(), std.cpu().numpy()

    @torch.no_grad()
    def components(self, x: Any) -> Array:
        """p(c|z) (n, components) of a mixture prior at the posterior mean of examples x (n, *shape)."""
        shares = self.model.prior.responsibilities(self.padded(self.encode(x)[0]), self.parameters)
        if shares is None:
            raise InputError("only a model with a mixture prior has components; train one with prior = 'mixture'.")
        return shares[0].cpu().numpy()

    @property
    def mixture(self) -> tuple[Array, Array, Array] | None:
        """Weights (C,), means (C, L) and covariances (C, L, L) of a mixture prior; None for other priors."""
        found, own = self.model.prior.components(self._on_cpu()), slice(self.spec.latent_dim)
        if found is None:
            return None
        weights, means, covariances = found
        return weights[0].numpy(), means[0, :, own].numpy(), covariances[0, :, own, own].numpy()

    def padded(self, z: Array) -> Tensor:
        """Points (n, latent_dim) as model input, (1, n, L)."""
        padded = self.row.new_zeros(1, len(z), self.model.latent)
        padded[0, :, : self.spec.latent_dim] = torch.as_tensor(z).to(self.row)
        return padded

    @torch.no_grad()
    def decode(self, z: Any, given: Array | None = None) -> Array:
        """E[x|z] (n, *shape) for points z (n, latent_dim); E[x|z, c] with conditions c.

        given: rows (n, D) of a table with the conditions; by default typical ones: see `conditions.typical`.
        """
        return self._decoded(z, given, lambda outputs: self.model.likelihood.mean(outputs, self.parameters))

    @torch.no_grad()
    def draw(self, z: Any, seed: int = 0, given: Array | None = None) -> Array:
        """One draw of x ~ p(x|z) (n, *shape) for each point z (n, latent_dim), in the data's own units; `given` as in
        `decode`.

        With the Bernoulli likelihood a draw is the lowest or the highest value; draws of 8-bit data with a density
        are grey levels. Constant columns of a table keep their value.
        """
        generator = torch.Generator(self.device).manual_seed(derive_seed(seed, DRAWS))
        likelihood = self.model.likelihood
        x = self._decoded(z, given, lambda outputs: likelihood.sample(outputs, self.parameters, generator))
        return np.clip(np.floor(x + 0.5), 0, 255) if self.scaling.dequantise else x

    def _decoded(self, z: Any, given: Array | None, take: Callable[[Tensor], Tensor]) -> Array:
        """`take` applied to the likelihood's outputs (1, n, D) at points z, in the data's own units."""
        try:
            z = np.asarray(z, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"`z` must be an array of numbers, but got {shown(z)}.") from None
        if z.ndim != 2 or z.shape[1] != self.spec.latent_dim:
            raise InputError(
                f"`z` must have {self.spec.latent_dim} columns, one per latent dimension, not shape {tuple(z.shape)}."
            )
        x = self.row.new_empty(len(z), self.model.features)
        modelled = slice(None)
        if self.is_conditional:
            given = conditions.typical(self) if given is None else given
            x[:] = torch.from_numpy(self.scaling.to_model(given))
            assert self.scaling.typed is not None
            modelled = self.scaling.typed.modelled
        for outputs, place in zip(self._outputs(z, x), x.split(PIECE), strict=True):
            place[:, modelled] = take(outputs)[0]
        return self.scaling.to_own(x.cpu().numpy().astype(self.scaling.offset.dtype, copy=False), self.facts.shape)

    def _outputs(self, z: Array, x: Tensor) -> Iterator[Tensor]:
        """The likelihood's outputs (1, n, head(D)), in pieces, at points z (n, latent_dim), with the conditions of rows
        x (n, D) in the model's units.
        """
        for piece, rows in zip(self.padded(z).split(PIECE, 1), x.split(PIECE), strict=True):
            yield self.model.decode(self.parameters, piece, y=self.model.split(rows[None])[1])

    @torch.no_grad()
    def outputs(self, z: Array, given: Array | None = None) -> Tensor:
        """The likelihood's outputs (n, head(D)) at points z (n, latent_dim); `given` as in `decode`."""
        x = self.row.new_empty(len(z), self.model.features)
        if self.is_conditional:
            given = conditions.typical(self) if given is None else given
            x[:] = torch.from_numpy(self.scaling.to_model(given))
        return torch.cat([outputs[0] for outputs in self._outputs(z, x)])

    @property
    def unconditional(self) -> tuple[dict[str, Tensor], Scaling]:
        """Own weights and scaling of the decoder z -> x; with conditions that for typical ones, which are then part of
        its first bias.
        """
        weights = self._weights()
        if not self.is_conditional:
            return weights, self.scaling
        row = conditions.typical(self)
        y = self.model.split(torch.from_numpy(self.scaling.to_model(row)).to(self.row)[None])[1]
        assert y is not None
        given, of_z = weights["decoder.0.weight"].split([self.model.condition, self.spec.latent_dim])
        bias = weights["decoder.0.bias"] + y[0] @ given
        return weights | {"decoder.0.weight": of_z, "decoder.0.bias": bias}, self.scaling.at_conditions(row[0])

    @functools.cached_property
    def encoder(self) -> Encoder:
        """A standalone torch module: examples (n, *shape) to mean and standard deviation of q(z|x), each (n, L)."""
        return Encoder(self._weights(), self.model, self.scaling)

    @functools.cached_property
    def decoder(self) -> Decoder:
        """A standalone torch module: points (n, L) to E[x|z] (n, *shape), under typical conditions."""
        weights, scaling = self.unconditional
        return Decoder(weights, self.model, scaling, self.facts.shape)

    def _weights(self) -> dict[str, Tensor]:
        return self.model.unpad(self.row[0], self.spec)

    def reconstruct(self, x: Any) -> Array:
        """E[x|z] at the posterior mean of each example, with its own conditions."""
        return self.decode(self.encode(x)[0], self.rows(x) if self.is_conditional else None)

    def impute(self, x: Any, draws: int = 0, seed: int = 0) -> Array:
        """Rows x (n, D) of a table with their missing cells filled by single values (see `imputation.impute`); with
        `draws` that many times (draws, n, D), each filled by a draw of what the other cells leave open.
        """
        checks.whole("draws", draws, 0, MOST_DRAWS)
        checks.seed("seed", seed)
        return imputation.draw(self, x, draws, seed) if draws else imputation.impute(self, x)

    def sample(self, n: int, seed: int = 0, noise: bool = False, given: Mapping[Any, Any] | None = None) -> Array:
        """E[x|z] (n, *shape) for z drawn from the prior; with `noise`, draws of x ~ p(x|z) at the same z.

        given: values of conditions, by column; the others are drawn from those training rows that have these.
        """
        checks.whole("n", n, 1, checks.MOST_DRAWS)
        checks.values("samples", n, max(self.spec.latent_dim, math.prod(self.facts.shape)))
        rng = np.random.default_rng(checks.seed("seed", seed))
        z = self.draw_prior(rng.standard_normal((n, self.spec.latent_dim)), rng.random(n))
        rows = conditions.drawn(self, n, given or {}, rng)
        return self.draw(z, seed, rows) if noise else self.decode(z, rows)

    def translate(self, x: Any, to: Mapping[Any, Any]) -> Array:
        """What examples x (n, D) would be if some of their conditions were others: E[x|z, c'] at the posterior mean
        given their own c. What the latents hold stays; what the conditions tell goes.
        """
        rows = self.rows(x)
        return self.decode(self.encode(rows)[0], conditions.changed(self, rows, to))

    def draw_prior(self, normal: Array, uniform: Array) -> Array:
        """Draws of the prior (n, latent_dim) from standard normals (n, latent_dim) and uniforms (n,) in [0, 1)."""
        z = self.model.prior.draw(torch.from_numpy(normal), torch.from_numpy(uniform), self._on_cpu())
        return z.numpy()

    @functools.cached_property
    def prior_moments(self) -> tuple[Array, Array]:
        """Mean and standard deviation of the prior per dimension, each (latent_dim,)."""
        mean, variance = (
            part[0, 0].expand(self.model.latent)[: self.spec.latent_dim].numpy()
            for part in self.model.prior.moments(self._on_cpu())
        )
        return mean, np.sqrt(variance)

    def _on_cpu(self) -> dict[str, Tensor]:
        return self.model.views(self.row.detach().cpu().double())

    def score_samples(self, x: Any, draws: int = SEARCH_DRAWS) -> Array:
        """The evidence lower bound of each example in nats (n,), on noise keyed by the example; higher is better."""
        checks.whole("draws", draws, 1, MOST_DRAWS)
        batches = self.units.batches(self._raw(x), draws)
        scores = evaluate.score(self.model, self.parameters, [self.spec], batches, draws, self.log_jacobian)
        return -scores.neg_elbo[0].numpy()

    def evaluate(self, data: Dataset, split: str, draws: int, limit: int | None = None) -> dict[str, Any]:
        """All metrics on one split of a data set, or on its first `limit` rows."""
        feed = Feed(data, self.spec, self.scaling)
        batches = feed.batches(split, draws, limit)
        scores = evaluate.score(self.model, self.parameters, [self.spec], batches, draws, self.log_jacobian)
        return evaluate.metrics(scores, 0, self.spec, evaluate.baseline(feed, split, limit))

    def importance_bound(self, data: Dataset, split: str, draws: int) -> Bound:
        """The importance-weighted bound on -log p(x) over one split."""
        batches = Feed(data, self.spec, self.scaling).batches(split, min(draws, evaluate.BOUND_DRAWS))
        return evaluate.importance_bound(self.model, self.parameters, self.spec, batches, draws, self.log_jacobian)

    def mutual_information(self, data: Dataset, split: str, rows: int = 2_000) -> MutualInformation:
        """Mutual information of x and z, over at most `rows` rows of a split."""
        batches = Feed(data, self.spec, self.scaling).batches(split, 1, rows)
        return evaluate.mutual_information(self.model, self.parameters, self.spec, batches)

    @property
    def parameter_count(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.model.own_shapes(self.spec).values())

    def save(
        self,
        folder: Path,
        history: Sequence[Mapping[str, Any]],
        metrics: Mapping[str, Any],
        overwrite: bool = False,
    ) -> Fitted:
        """Write the run folder atomically; returns this model with that folder."""
        weights = {n: w.float().cpu().numpy() for n, w in self._weights().items()}
        weights |= scaling_arrays(self.scaling)
        facts = dataclasses.asdict(self.facts) | {"dequantise": self.scaling.dequantise}
        store.save_run(
            folder,
            spec=self.spec.model_dump(),
            data=facts,
            arrays=weights,
            history=history,
            metrics=metrics,
            overwrite=overwrite,
        )
        return Fitted(self.spec, self.facts, self.scaling, self.row, folder, self.custom)

    @classmethod
    def load(cls, folder: str | Path, conditional: bool = False, custom: CustomNetworks | None = None) -> Fitted:
        """Read a run folder; raises StoreError that names any problem. The model is on the CPU.

        A `conditional` model is one part of an inverse problem's run and cannot be used alone. A run contains only
        weights: custom networks must be given again (see `vaelab.load`).
        """
        run = store.load_run(checks.folder("folder", folder))
        with store.interpreting(run.folder):
            return cls._of_run(run, custom, conditional)

    @classmethod
    def _of_run(cls, run: store.Run, custom: CustomNetworks | None, conditional: bool) -> Fitted:
        kind = run.data.get("kind")
        if kind is not None:
            raise StoreError(f"{run.folder} is the run of a {kind}; use `vaelab predict`, or vaelab.load_{kind}.")
        spec = Spec.create(**run.spec).replace(device="cpu")
        facts = DataFacts.from_dict(run.data)
        if facts.condition and not conditional:
            raise StoreError(
                f"{run.folder} is the run of an inverse problem; use `vaelab solve`, or ConditionalVAE.load."
            )
        given = () if custom is None else tuple(custom.parts)
        if given != facts.custom:
            said = " and ".join(facts.custom) or "none"
            raise StoreError(
                f"{run.folder} was trained with custom networks ({said}), which are not saved: load it with "
                "vaelab.load(folder, encoder=..., decoder=...) and the same modules."
            )
        arrays = dict(run.weights)
        scaling = take_scaling(arrays, facts.columns, bool(run.data.get("dequantise", False)))
        model = _model(spec, facts, scaling, custom)
        shapes = model.own_shapes(spec) | {block.name: block.shape for block in model.statistics}
        expected = {name: (shape, "float32") for name, shape in shapes.items()}
        store.check_arrays(arrays, expected, run.folder)
        row = model.pad({name: torch.from_numpy(array) for name, array in arrays.items()}, spec)
        return cls(spec, facts, scaling, row[None], run.folder, custom)


def _model(spec: Spec, facts: DataFacts, scaling: Scaling, custom: CustomNetworks | None) -> Model:
    features = int(np.prod(facts.shape)) if scaling.kept is None else len(scaling.kept)
    likelihood = likelihood_for(spec, is_image=len(facts.shape) >= 2, scaling=scaling)
    grid = grid_of(facts.shape, scaling)
    return Model.for_spec(spec, features - facts.condition, likelihood, facts.condition, grid, custom, scaling.typed)
