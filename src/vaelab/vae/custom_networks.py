"""Custom networks: any torch module as encoder or decoder, called with one member's parameters from the buffer."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vaelab.engine.convolutions import Grid
from vaelab.engine.networks import Parameters, Training
from vaelab.errors import InputError

PARTS = ("encoder", "decoder")


@dataclasses.dataclass(frozen=True, eq=False)
class CustomNetworks:
    """Copies of the given modules; None means the network is built from the spec.

    encoder: images (n, C, H, W), or rows (n, D), to concatenated mean and log-variance, (n, 2 latent_dim).
    decoder: points (n, latent_dim) to the likelihood's outputs, (n, C, H, W) or (n, D): logits, or means.
    """

    encoder: nn.Module | None = None
    decoder: nn.Module | None = None

    @classmethod
    def of(cls, encoder: nn.Module | None, decoder: nn.Module | None) -> CustomNetworks | None:
        """The given modules, not modified; None if there are none."""
        for name, module in zip(PARTS, (encoder, decoder), strict=True):
            if module is not None and not isinstance(module, nn.Module):
                raise InputError(f"`{name}` must be a torch.nn.Module, but got {type(module).__name__}.")
        return None if encoder is None and decoder is None else cls(copy.deepcopy(encoder), copy.deepcopy(decoder))

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The modules given, by name."""
        given = zip(PARTS, (self.encoder, self.decoder), strict=True)
        return {name: module for name, module in given if module is not None}

    @property
    def initial(self) -> dict[str, Tensor]:
        """Parameters as given; training starts from them."""
        return {
            f"{part}.{name}": value.detach().clone()
            for part, module in self.parts.items()
            for name, value in module.named_parameters()
        }

    @property
    def statistics(self) -> dict[str, Tensor]:
        """Buffers, such as running statistics, in float32."""
        return {
            f"{part}.{name}": value.detach().float().clone()
            for part, module in self.parts.items()
            for name, value in module.named_buffers()
        }

    def encode(self, parameters: Parameters, x: Tensor, grid: Grid) -> Tensor:
        """Mean and log-variance (1, n, 2 L) of rows (1, n, D)."""
        return self._call("encoder", parameters, as_input(x, grid))[None]

    def decode(self, parameters: Parameters, z: Tensor, grid: Grid) -> Tensor:
        """The likelihood's outputs (1, n, D) at z (1, n, L)."""
        return grid.take(as_output(self._call("decoder", parameters, z[0])))[None]

    def _call(self, part: str, parameters: Parameters, x: Tensor) -> Tensor:
        module, start = self.parts[part], f"{part}."
        module.train(isinstance(parameters, Training))
        own = {name.removeprefix(start): value[0] for name, value in parameters.items() if name.startswith(start)}
        out: Tensor = torch.func.functional_call(module, own, (x,))
        return out

    def check(self, latent_dim: int, grid: Grid) -> None:
        """Call each module on two examples; on a shape mismatch report the expected and actual shapes."""
        views = {name: value[None] for name, value in (self.initial | self.statistics).items()}
        device = next(iter(views.values())).device if views else torch.device("cpu")
        given = as_input(torch.zeros(1, 2, grid.values, device=device), grid)
        with torch.no_grad():
            if self.encoder is not None:
                out = self._try("encoder", views, given)
                if out.shape != (2, 2 * latent_dim):
                    raise InputError(
                        f"`encoder` must return concatenated mean and log-variance, (n, {2 * latent_dim}) for "
                        f"latent_dim = {latent_dim}, but returned {_shape(out)}."
                    )
            if self.decoder is not None:
                out = self._try("decoder", views, torch.zeros(2, latent_dim, device=device))
                flat = (2, math.prod(grid.shape))
                if out.shape not in (given.shape, flat):
                    either = " or ".join(dict.fromkeys((_shape(given), f"(n, {flat[1]})")))
                    raise InputError(
                        f"`decoder` must return {either}, one value per pixel, but returned {_shape(out)}."
                    )

    def _try(self, part: str, views: Mapping[str, Tensor], x: Tensor) -> Tensor:
        try:
            out = self._call(part, views, x)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"`{part}` does not accept {_shape(x)}: {reason.rstrip('.')}.") from None
        if not isinstance(out, Tensor):
            raise InputError(f"`{part}` must return one tensor, but returned {type(out).__name__}.")
        return out

    def trained(self, part: str, weights: Mapping[str, Tensor]) -> nn.Module:
        """A copy of a module with trained parameters and statistics."""
        module, start = copy.deepcopy(self.parts[part]), f"{part}."
        module.load_state_dict(
            {n.removeprefix(start): v for n, v in weights.items() if n.startswith(start)}, strict=False
        )
        some = next(iter(weights.values()))
        return module.to(some)


def as_input(x: Tensor, grid: Grid) -> Tensor:
    """Rows (1, n, D) as encoder input: images (n, C, H, W), curves and tables (n, D)."""
    whole = grid.spread(x)[0]
    return whole if grid.shape[0] == grid.shape[2] == 1 else as_images(whole, grid)


def as_images(rows: Tensor, grid: Grid) -> Tensor:
    """Whole rows (n, H W C) as images (n, C, H, W)."""
    images: Tensor = rows.unflatten(1, grid.shape)
    return images.permute(0, 3, 1, 2)


def as_output(out: Tensor) -> Tensor:
    """Decoder outputs, images (n, C, H, W) or rows, as rows (n, D) in the order H, W, C."""
    return out.permute(0, 2, 3, 1).flatten(1) if out.ndim == 4 else out


def _shape(x: Tensor) -> str:
    return f"(n{''.join(f', {n}' for n in x.shape[1:])})"
