"""A trained encoder and decoder as standalone torch modules, without padding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaelab.data import Scaling
from vaelab.engine.convolutions import GROUPS, Generator, Grid, Layer, Trunk
from vaelab.engine.encoding import FAR
from vaelab.engine.rows import indices
from vaelab.vae.custom_networks import as_images, as_input, as_output
from vaelab.vae.model import Model
from vaelab.vae.posterior import WIDEST

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
}

Weights = Mapping[str, Tensor]  # unpadded, from `Model.unpad`


def _dense(weights: Weights, prefix: str, activation: str) -> list[nn.Module]:
    """Dense layers from "<prefix>.<i>.weight" (in, out) and ".bias" (1, out), with an activation between them."""
    layers: list[nn.Module] = []
    while f"{prefix}.{len(layers) // 2}.weight" in weights:
        i = len(layers) // 2
        weight, bias = weights[f"{prefix}.{i}.weight"], weights[f"{prefix}.{i}.bias"]
        n_in, n_out = weight.shape
        layer = nn.Linear(n_in, n_out, dtype=weight.dtype, device=weight.device)
        layer.load_state_dict({"weight": weight.T, "bias": bias[0]})
        layers += [layer, ACTIVATIONS[activation]()]
    return layers[:-1]


class _AsMaps(nn.Module):
    """Rows (n, D) as images (n, C, H, W); with `by_kind` curves stay rows."""

    def __init__(self, grid: Grid, by_kind: bool = False):
        super().__init__()
        self.grid, self.by_kind = grid, by_kind

    def forward(self, x: Tensor) -> Tensor:
        return as_input(x[None], self.grid) if self.by_kind else as_images(self.grid.spread(x), self.grid)


class _AsRows(nn.Module):
    """Images (n, C, H, W), or rows, as rows (n, D)."""

    def __init__(self, grid: Grid):
        super().__init__()
        self.grid = grid

    def forward(self, maps: Tensor) -> Tensor:
        return self.grid.take(as_output(maps))


class _Residual(nn.Module):
    """act(x + inner(x))."""

    def __init__(self, inner: nn.Module, activation: nn.Module):
        super().__init__()
        self.inner, self.activation = inner, activation

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(x + self.inner(x))
        return out


class _Bias(nn.Module):
    def __init__(self, bias: Tensor):
        super().__init__()
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


def _convolution(stages: Trunk | Generator, layer: Layer, weights: Weights) -> list[nn.Module]:
    """One convolution, and its norm if it has one."""
    weight, bias = weights[f"{layer.name}.weight"], weights.get(f"{layer.name}.bias")
    kind: dict[str, Any] = {"dtype": weight.dtype, "device": weight.device}
    kernel = stages.kernel_size()
    around = (kernel[0] // 2, kernel[1] // 2)
    own: nn.Module
    if layer.transposed:
        (H, W), half = stages.sizes[layer.stage], stages.sizes[layer.stage + 1]
        more = (H - (2 * half[0] - 1), W - (2 * half[1] - 1))
        own = nn.ConvTranspose2d(layer.n_in, layer.n_out, kernel, 2, around, more, bias=bias is not None, **kind)
    else:
        stride = 1 if layer.in_block else 2
        own = nn.Conv2d(layer.n_in, layer.n_out, kernel, stride, around, bias=bias is not None, **kind)
    own.load_state_dict({"weight": weight.permute(0, 3, 1, 2)} | ({} if bias is None else {"bias": bias}))
    if layer.norm == "none":
        return [own]
    state = {"weight": weights[f"{layer.name}.scale"], "bias": weights[f"{layer.name}.shift"]}
    norm: nn.Module
    if layer.norm == "group":
        norm = nn.GroupNorm(math.gcd(layer.n_out, GROUPS), layer.n_out, **kind)
    else:
        norm = nn.BatchNorm2d(layer.n_out, **kind)
        state |= {f"running_{name}": weights[f"{layer.name}.{name}"] for name in ("mean", "var")}
    norm.load_state_dict(state, strict=False)
    return [own, norm]


def _maps(stages: Trunk | Generator, weights: Weights) -> list[nn.Module]:
    """All stages of an encoder's or a decoder's convolutions."""
    modules: list[nn.Module] = []
    act = ACTIVATIONS[stages.activation]
    inner: list[nn.Module] = []
    for layer in stages.layers:
        own = _convolution(stages, layer, weights)
        if layer.in_block:
            inner += own
            if layer.silent:
                modules.append(_Residual(nn.Sequential(*inner), act()))
                inner = []
            else:
                inner.append(act())
        else:
            modules += [*own, act()]
    return [act(), *modules[:-1]] if isinstance(stages, Generator) else modules


def _encoder(weights: Weights, model: Model) -> list[nn.Module]:
    """Rows (n, D) to the heads (n, 2 L)."""
    if model.custom is not None and model.custom.encoder is not None:
        return [_AsMaps(model.place, by_kind=True), model.custom.trained("encoder", weights)]
    layers = _dense(weights, "encoder", model.activation)
    if model.convolutions is None:
        return layers
    trunk = model.convolutions.trunk
    return [_AsMaps(model.place), *_maps(trunk, weights), _AsRows(Grid(trunk.map_shape)), *layers]


def _decoder(weights: Weights, model: Model) -> list[nn.Module]:
    """Points (n, L) to the likelihood's outputs (n, D)."""
    if model.custom is not None and model.custom.decoder is not None:
        return [model.custom.trained("decoder", weights), _AsRows(model.place)]
    layers = _dense(weights, "decoder", model.activation)
    if model.convolutions is None:
        return layers
    generator = model.convolutions.generator
    maps = [_AsMaps(Grid(generator.map_shape)), *_maps(generator, weights), _AsRows(model.place)]
    return [*layers, *maps, _Bias(weights["decoder.bias"])]


class _Network(nn.Module):
    """Layers, and the scaling between the data's own units and the model's. For inference: batch norms are frozen."""

    offset: Tensor
    scale: Tensor
    kept: Tensor | None

    def __init__(self, layers: Sequence[nn.Module], scaling: Scaling):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        some = next(self.layers.parameters(), torch.zeros(()))
        self.dtype, self.logs = some.dtype, scaling.logs
        self.indexed = {j: torch.from_numpy(values).to(some.device) for j, values in scaling.indexed.items()}
        # Offsets of a table may need more digits than the layers have.
        wide = torch.float64 if scaling.offset.dtype == np.float64 else some.dtype
        middle = 0.5 if scaling.dequantise else 0.0  # of the bin over which a grey level is dequantised
        kind: dict[str, Any] = {"dtype": wide, "device": some.device}
        self.register_buffer("offset", torch.tensor(scaling.offset - scaling.offset.dtype.type(middle), **kind))
        self.register_buffer("scale", torch.tensor(scaling.scale, **kind))
        kept = None if scaling.kept is None else torch.from_numpy(scaling.kept).to(some.device)
        self.register_buffer("kept", kept)
        self.eval()


class Encoder(_Network):
    """q(z|x): examples (n, *shape) in the data's own units to its mean and standard deviation, each (n, L).

    It adds no noise: with a density a grey level is at the middle of its bin, and if pixels were binarised in
    training, the input is used as is.
    """

    def __init__(self, weights: Weights, model: Model, scaling: Scaling):
        super().__init__(_encoder(weights, model), scaling)
        self.encoding = model.encoding

    def forward(self, x: Any) -> tuple[Tensor, Tensor]:
        x = torch.as_tensor(x).to(self.scale).flatten(1)
        x = x if self.kept is None else x.index_select(1, self.kept)
        if self.logs.stop:
            x[:, self.logs] = torch.log(x[:, self.logs])
        for j, values in self.indexed.items():
            x[:, j] = indices(x[:, j], values)
        x = ((x - self.offset) / self.scale).to(self.dtype)
        mean, log_var = self.layers(x.clamp(-FAR, FAR) if self.encoding is None else self.encoding(x)).chunk(2, 1)
        return mean, torch.exp(0.5 * log_var.clamp_max(WIDEST))


class Decoder(_Network):
    """E[x|z]: points (n, L) to examples (n, *shape) in the data's own units."""

    fill: Tensor | None

    def __init__(self, weights: Weights, model: Model, scaling: Scaling, shape: tuple[int, ...]):
        super().__init__(_decoder(weights, model), scaling)
        self.shape, self.likelihood = shape, model.likelihood
        self.own = {name: weight[None] for name, weight in weights.items() if name.startswith("likelihood.")}
        self.register_buffer("fill", None if scaling.fill is None else torch.from_numpy(scaling.fill).to(self.scale))

    def forward(self, z: Any) -> Tensor:
        outputs = self.layers(torch.as_tensor(z).to(self.scale.device, self.dtype))
        x = self.likelihood.mean(outputs[None], self.own)[0] * self.scale + self.offset
        if self.logs.stop:
            x = torch.cat([x[:, : self.logs.start], torch.exp(x[:, self.logs]), x[:, self.logs.stop :]], 1)
        for j, values in self.indexed.items():
            low = x[:, j].floor().long().clamp(0, len(values) - 2)
            x[:, j] = values[low] + (x[:, j] - low) * (values[low + 1] - values[low])
        if self.kept is not None and self.fill is not None:
            x = self.fill.expand(x.shape[0], -1).index_copy(1, self.kept, x)  # shape: len is a constant to exporters
        return x.reshape(x.shape[0], *self.shape)
