"""A trained encoder and decoder as plain torch modules, in their own widths, to be taken elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaelab.data import Scaling

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
}


class _Network(nn.Module):
    """Dense layers with an activation between them, and the scaling between the data's own units and the model's."""

    offset: Tensor
    scale: Tensor

    def __init__(self, weights: Mapping[str, Tensor], prefix: str, activation: str, scaling: Scaling):
        """weights: unpadded, as `Model.unpad` gives them: "<prefix>.<i>.weight" (in, out) and ".bias" (1, out)."""
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(sum(name.startswith(f"{prefix}.") for name in weights) // 2):
            weight, bias = weights[f"{prefix}.{i}.weight"], weights[f"{prefix}.{i}.bias"]
            n_in, n_out = weight.shape
            layer = nn.Linear(n_in, n_out, dtype=weight.dtype, device=weight.device)
            layer.load_state_dict({"weight": weight.T, "bias": bias[0]})
            layers += [ACTIVATIONS[activation]()] * (i > 0) + [layer]
        self.layers = nn.Sequential(*layers)
        kind: dict[str, Any] = {"dtype": layer.weight.dtype, "device": layer.weight.device}
        middle = 0.5 if scaling.dequantise else 0.0  # of the cell over which a grey level is spread
        self.register_buffer("offset", torch.tensor(scaling.offset - np.float32(middle), **kind))
        self.register_buffer("scale", torch.tensor(scaling.scale, **kind))

    def _as_input(self, x: Any) -> Tensor:
        return torch.as_tensor(x).to(self.scale)


class Encoder(_Network):
    """q(z|x): examples (n, *shape) in the data's own units to its mean and standard deviation, each (n, L).

    It holds no noise: under a density a grey level stands at the middle of its cell, and where pixels were drawn as
    0 or 1 in training, what is given is taken as it is.
    """

    kept: Tensor | None

    def __init__(self, weights: Mapping[str, Tensor], activation: str, scaling: Scaling):
        super().__init__(weights, "encoder", activation, scaling)
        kept = None if scaling.kept is None else torch.from_numpy(scaling.kept).to(self.scale.device)
        self.register_buffer("kept", kept)

    def forward(self, x: Any) -> tuple[Tensor, Tensor]:
        x = self._as_input(x).flatten(1)
        x = x if self.kept is None else x.index_select(1, self.kept)
        mean, log_var = self.layers((x - self.offset) / self.scale).chunk(2, 1)
        return mean, torch.exp(0.5 * log_var)


class Decoder(_Network):
    """E[x|z]: points (n, L) to examples (n, *shape) in the data's own units."""

    kept: Tensor | None
    fill: Tensor | None

    def __init__(
        self, weights: Mapping[str, Tensor], activation: str, scaling: Scaling, shape: tuple[int, ...], sigmoid: bool
    ):
        super().__init__(weights, "decoder", activation, scaling)
        self.shape, self.sigmoid = shape, sigmoid
        device = self.scale.device
        self.register_buffer("kept", None if scaling.kept is None else torch.from_numpy(scaling.kept).to(device))
        self.register_buffer("fill", None if scaling.fill is None else torch.from_numpy(scaling.fill).to(self.scale))

    def forward(self, z: Any) -> Tensor:
        outputs = self.layers(self._as_input(z))
        x = (torch.sigmoid(outputs) if self.sigmoid else outputs) * self.scale + self.offset
        if self.kept is not None and self.fill is not None:
            x = self.fill.expand(len(x), -1).index_copy(1, self.kept, x)
        return x.reshape(len(x), *self.shape)
