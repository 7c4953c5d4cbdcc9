"""A model's decoder for the page's script: its weights in 16 bits, and the scaling from outputs to the data's units."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab.engine.convolutions import EPSILON, Generator, Layer, groups_of
from vaelab.vae.fitted import Fitted
from vaelab.vae.likelihoods.mixed import Mixed
from vaelab.vae.likelihoods.ordinal import Ordinal
from vaelab.vae.likelihoods.zero_inflated import ZeroInflated

Array = npt.NDArray[Any]

WEIGHTS = 1_000_000  # of one decoder
PRODUCTS = 100_000_000  # of its convolutions per example: below a tenth of a second in a browser
LARGEST_HALF = float(np.finfo(np.float16).max)


def decoder_data(fitted: Fitted, room: int) -> tuple[dict[str, Any] | None, str]:
    """The decoder, JSON-able, in at most `room` bytes before base64; or None and the reason."""
    if fitted.custom is not None and fitted.custom.decoder is not None:
        return None, "Its decoder is a custom network; a page can only decode with vaelab's own layers."
    convolutions = fitted.model.convolutions
    if convolutions is not None and convolutions.generator.products > PRODUCTS:
        found = convolutions.generator.products
        return None, f"Its decoder needs {found:,} products per example; the limit of a page is {PRODUCTS:,}."
    likelihood = fitted.model.likelihood
    if convolutions is not None and isinstance(likelihood, Mixed):
        return None, "It decodes columns of several types with convolutions, which a page cannot."
    weights, scaling = fitted.unconditional
    weights = {name: weight.float().cpu() for name, weight in weights.items()}
    layers = len(fitted.spec.hidden_sizes) + 1
    tensors = [weights[f"decoder.{i}.{kind}"] for i in range(layers) for kind in ("weight", "bias")]
    if convolutions is not None:
        for layer in convolutions.generator.layers:
            tensors += _tensors(weights, layer)
        tensors.append(weights["decoder.bias"])
    size = sum(tensor.numel() for tensor in tensors)
    if size > WEIGHTS:
        return None, f"Its decoder has {size:,} weights; the limit of a page is {WEIGHTS:,}."
    if 2 * size > room:
        return None, f"The decoders of previous models fill the page; this one has {size:,} weights."
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors]).numpy()
    if np.abs(flat).max() > LARGEST_HALF:
        return None, f"Its largest weight, {np.abs(flat).max():.3g}, is out of range for 16 bits."
    return {
        "size": size,
        "widths": [fitted.spec.latent_dim, *reversed(fitted.spec.hidden_sizes), fitted.model.ends[1]],
        "maps": None if convolutions is None else _maps(convolutions.generator),
        "activation": fitted.spec.activation,
        "link": likelihood.link,
        "parts": _parts(fitted, likelihood) if isinstance(likelihood, Mixed) else None,
        "weights": packed(flat, "<f2"),
        "scale": scaling.scale.astype(float).tolist(),
        "offset": scaling.offset.astype(float).tolist(),
        "shift": -0.5 if scaling.dequantise else 0.0,
        "kept": None if scaling.kept is None else scaling.kept.tolist(),
        "fill": None if scaling.fill is None else scaling.fill.astype(float).tolist(),
    }, ""


def _parts(fitted: Fitted, mixed: Mixed) -> list[dict[str, Any]]:
    """What turns outputs into the values of each kind of column: where both are, and what each kind needs besides.

    expected: of counts, the logarithm of the mean in training in a row of typical size, whose logarithm is `size`; None
        if counts are not compared with the size of their row.
    thresholds: of ordered levels, those between them. values: of levels, the table's own numbers.
    """
    typed, parameters = mixed.typed, fitted.parameters
    found = []
    for part in mixed.parts:
        columns = typed.columns[part.columns]
        entry: dict[str, Any] = {
            "kind": part.name,
            "columns": [part.columns.start, part.columns.stop],
            "outputs": [part.outputs.start, part.outputs.stop],
        }
        if part.name == "count":
            size = float(typed.size[0]) if typed.has_size else None
            base = np.log(typed.base[part.columns]) + (size or 0.0)
            entry |= {"expected": base.tolist(), "size": size, "inflated": isinstance(part.likelihood, ZeroInflated)}
        if columns[0].has_levels:
            entry["values"] = [list(column.values) for column in columns]
        if isinstance(part.likelihood, Ordinal):
            thresholds = part.likelihood.thresholds(part.own(parameters)).reshape(len(columns), -1).tolist()
            entry["thresholds"] = [own[1 : len(column.values)] for own, column in zip(thresholds, columns, strict=True)]
        found.append(entry)
    return found


def _maps(generator: Generator) -> dict[str, Any]:
    """The smallest maps' height and width, and the convolutions in their order."""
    return {
        "size": generator.map_shape[:2],
        "layers": [
            {
                "inputs": layer.n_in,
                "outputs": layer.n_out,
                "kernel": generator.kernel_size(),
                "size": generator.sizes[layer.stage + (not layer.transposed)],
                "doubles": layer.transposed,
                "block": ("outer" if layer.silent else "inner") if layer.in_block else None,
                "groups": groups_of(layer.n_out) if layer.norm == "group" else 0,
                "last": layer.transposed and layer.stage == 0,
            }
            for layer in generator.layers
        ],
    }


def _tensors(weights: Mapping[str, Tensor], layer: Layer) -> Iterator[Tensor]:
    """A layer's weight as (height, width, in, out) and its bias; for a group norm also scale and shift.

    A trained batch norm is an affine map per channel, folded into weight and bias.
    """
    weight = weights[f"{layer.name}.weight"].permute((1, 2, 0, 3) if layer.transposed else (1, 2, 3, 0))
    if layer.norm == "none":
        yield from (weight, weights[f"{layer.name}.bias"])
        return
    scale, shift = weights[f"{layer.name}.scale"], weights[f"{layer.name}.shift"]
    if layer.norm == "group":
        yield from (weight, torch.zeros_like(shift), scale, shift)
        return
    factor = scale * (weights[f"{layer.name}.var"] + EPSILON).rsqrt()
    yield from (weight * factor, shift - weights[f"{layer.name}.mean"] * factor)


def packed(values: Array, dtype: str) -> str:
    """Little-endian values in base64."""
    return base64.b64encode(np.ascontiguousarray(values).astype(dtype).tobytes()).decode("ascii")
