"""Fused training of a stack of VAEs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaelab.engine import noise
from vaelab.engine.fused import update
from vaelab.engine.fused.dense import ACTIVATIONS, OUTPUT, row_width
from vaelab.engine.fused.stepper import CHUNK_FLOATS, Array, FusedSteps
from vaelab.engine.fused.table import LayerTable
from vaelab.settings.yardsticks import VALIDATION_ROWS
from vaelab.vae import evaluate
from vaelab.vae.epoch import Draws, VAEStack, draw, noise_blocks, weights_of
from vaelab.vae.fused import steps
from vaelab.vae.fused.rows import TypedRows
from vaelab.vae.objectives import CostOf, Weights, reconstruction


class FusedVAE(FusedSteps[VAEStack]):
    """The evidence lower bound by kernels; `cost` is computed by autograd, unless the likelihood has a head for it."""

    def __init__(self, stack: VAEStack, cost: CostOf):
        self.sizes: list[Array] = []
        self._kept: dict[int, Array] = {}
        super().__init__(stack)
        is_plain = cost is reconstruction or not stack.specs[0].wy
        self.cost = reconstruction if is_plain else cost
        self.stored = ("distortion", "rate") if is_plain else ("distortion", "rate", "misfit")
        constants = stack.model.likelihood.head_constants()
        self.constants = None if constants is None else np.array(constants, np.float64)
        self.by_autograd = constants is None or not is_plain
        self.rows = None if stack.model.encoding is None else TypedRows(stack.feed, stack.model)
        self.rates = [np.full(2 * len(s.hidden_sizes), s.dropout) for s in stack.specs]

    def table(self, k: int) -> LayerTable:
        model, spec = self.stack.model, self.stack.specs[k]
        table, hidden, latent = LayerTable(model.layout, self.stack.batch_size), spec.hidden_sizes, spec.latent_dim
        last = table.hidden("encoder", model.ends[0] + model.condition, hidden)
        for first in (0, model.latent):  # mean and log-variance are next to each other
            table.linear(f"encoder.{len(hidden)}", last, latent, first)
        std, excess, code = table.room(latent), table.room(latent), table.room(model.condition + latent)
        last = table.hidden("decoder", model.condition + latent, tuple(reversed(hidden)))
        table.linear(f"decoder.{len(hidden)}", last, model.likelihood.head(model.features))
        own = [block for block in model.layout if block.name.startswith("likelihood")]
        start, count = (own[0].offset if own else 0), sum(block.size for block in own)
        activation = ACTIVATIONS.index(model.activation)
        shape = [model.features, model.condition, latent, len(hidden), model.ends[0]]
        sizes = [*shape, activation, start, count, std, excess, code]
        self.sizes.append(np.array(sizes, np.int64))
        return table

    def epoch(self, order: Tensor) -> tuple[dict[str, Tensor], dict[int, int]]:
        self.weights = weights_of(self.stack)
        return super().epoch(order)

    def train(self, k: int, order: Tensor, coefficients: Array, sums: Array) -> Iterator[tuple[int, int]]:
        stack, B = self.stack, self.stack.batch_size
        weights, scratch, state = self._weights(k), self.scratch(), self.state(k)
        for block in noise_blocks(stack, len(order)):
            draws = draw(stack, k, block.stop - block.start)
            for part in self.chunks(block):
                own = slice(part.start - block.start, part.stop - block.start)
                if self.rows is not None:
                    x = self.rows.gather(order[part])
                else:
                    x = stack.feed.gather(order[part], None if draws.pixel is None else draws.pixel[own])
                number = slice(part.start // B, -(-part.stop // B))
                yield (
                    number.stop - number.start,
                    self._steps(k, x, draws, own, coefficients[number], weights, state, scratch, sums),
                )

    def _steps(
        self, k: int, x: Tensor, draws: Draws, own: slice, coefficients: Array, weights: Array, state: Any,
        scratch: Array, sums: Array,
    ) -> int:  # fmt: skip
        """The steps over some rows; the first whose gradient was not finite, or -1."""
        assert draws.normal is not None
        normal, dropout = draws.normal[own, 0].numpy(), draws.dropout[own].numpy()
        shape = self.layers[k], self.sizes[k], self.rates[k]
        if not self.by_autograd:
            return int(
                steps.train(
                    *state, coefficients, *shape, weights, self.constants, self.stack.batch_size, x.numpy(), normal,
                    dropout, scratch, sums,
                )
            )  # fmt: skip
        broken, B = -1, self.stack.batch_size
        parameters, gradient, first, second, rule = state
        layers, sizes, rates = shape
        rate = np.empty(B, np.float32)
        for number, (root, floor, shrink) in enumerate(coefficients):
            part = slice(number * B, (number + 1) * B)
            rows, eps, dropped = x[part], normal[part], dropout[part]
            steps.encode(parameters, layers, sizes, rows.numpy(), dropped, rates, scratch)
            steps.decode(parameters, layers, sizes, rows.numpy(), eps, dropped, rates, scratch)
            terms = self._head(k, rows, weights, gradient, scratch)
            squares = steps.backward(
                parameters, gradient, layers, sizes, rows.numpy(), eps, weights, rate[: len(rows)], scratch
            )
            sums[0] += terms[0]
            sums[1] += rate[: len(rows)].sum(dtype=np.float64)
            sums[2:] += terms[1:]
            if (
                not update.update(parameters, gradient, first, second, rule, squares, root, floor, shrink)
                and broken < 0
            ):
                broken = number
        return broken

    def _head(self, k: int, rows: Tensor, weights: Array, gradient: Array, scratch: Array) -> list[float]:
        """The sums of the cost's terms by autograd; their gradient replaces the outputs, and joins `gradient`."""
        stack, model = self.stack, self.stack.model
        width = model.likelihood.head(model.features)
        place = torch.from_numpy(scratch[self.layers[k][-1, OUTPUT] :])
        outputs = place.as_strided((len(rows), width), (row_width(width), 1))
        leaf = outputs.clone()[None].requires_grad_()
        blocks = [block for block in model.layout if block.name.startswith("likelihood")]
        views = model.layout.views(stack.parameters[k : k + 1].detach())
        own = {block.name: views[block.name].clone().requires_grad_() for block in blocks}
        beta, wx, wy = (torch.tensor([[float(w)]]) for w in (weights[steps.BETA], weights[steps.WX], stack.specs[k].wy))
        asked = Weights(beta, None, 1, wx, wy if stack.specs[k].wy > 0 else None)
        cost = self.cost(model, own, leaf, (rows if self.rows is None else self.rows.values(rows))[None], asked)
        found, *others = torch.autograd.grad(cost.loss.sum(), [leaf, *own.values()], materialize_grads=True)
        outputs.copy_(found[0])
        for block, by_block in zip(blocks, others, strict=True):
            gradient[block.offset : block.offset + block.size] = by_block.reshape(-1).numpy()
        terms = [cost.distortion] if cost.misfit is None else [cost.distortion, cost.misfit]
        return [float(term.detach().sum(dtype=torch.float64)) for term in terms]

    def _weights(self, k: int) -> Array:
        spec = self.stack.specs[k]
        free = spec.free_bits if self.weights.free_bits is not None else -1.0
        return np.array([float(self.weights.beta[k]), spec.wx, free], np.float64)

    def validation(self) -> Tensor:
        """Mean distortion and rate of each member (K, 2)."""
        stack, feed, specs = self.stack, self.stack.feed, self.stack.specs
        rows = min(len(feed.data.splits["validation"]), VALIDATION_ROWS)
        if self.constants is None:
            batches = feed.batches("validation", evaluate.epoch_draws(rows), VALIDATION_ROWS)
            return torch.tensor(evaluate.mean_terms(stack.model, stack.views(stack.judged), specs, batches, 0.0))
        sums, n = torch.zeros(len(specs), 2, dtype=torch.float64), 0
        chunks = (feed if self.rows is None else self.rows).kept_batches("validation", VALIDATION_ROWS)
        for number, (x, keys) in enumerate(chunks):
            normal = self._kept[number] if number in self._kept else self._normal(keys, evaluate.epoch_draws(rows))
            if normal.size <= CHUNK_FLOATS:
                self._kept[number] = normal
            n += len(x)
            sums += self._terms(stack.judged.detach(), x, normal).sum(2, dtype=torch.float64)
        return sums / n

    def terms(self, parameters: Tensor, x: Tensor, keys: Tensor, draws: int) -> tuple[Tensor, Tensor]:
        """Rate and distortion, the mean over the draws, of members (K, P) on rows (n, D + C) with noise keys (n,)."""
        x = x if self.rows is None else self.rows.of(x)
        distortion, rate = self._terms(parameters, x, self._normal(keys, draws)).unbind(1)
        return rate, distortion

    def _normal(self, keys: Tensor, draws: int) -> Array:
        """Standard normals (S, n, largest latent_dim) keyed by example."""
        normal: Array = noise.normal(keys, draws, max(s.latent_dim for s in self.stack.specs)).float().numpy()
        return normal

    def _terms(self, parameters: Tensor, x: Tensor, normal: Array) -> Tensor:
        """Distortion and rate (K, 2, n) of members on rows as kernels read them, for normals (S, n, latent or more)."""
        found = np.empty((len(parameters), 2, len(x)), np.float32)
        for k, (spec, row) in enumerate(zip(self.stack.specs, parameters, strict=True)):
            own = np.ascontiguousarray(normal[:, :, : spec.latent_dim])
            shape = self.layers[k], self.sizes[k], self.constants, self.stack.batch_size
            steps.terms(row.numpy(), *shape, x.numpy(), own, self.scratch(), *found[k])
        return torch.from_numpy(found)
