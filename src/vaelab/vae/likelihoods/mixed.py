"""One noise model per column of a table, by its kind; missing cells cost nothing."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from vaelab.data import Dataset, Scaling
from vaelab.data.cells import check_levels
from vaelab.engine.encoding import Encoding, sizes_of, with_filling
from vaelab.engine.networks import Parameters
from vaelab.errors import InputError
from vaelab.vae.fused import MIXED
from vaelab.vae.likelihoods.likelihood import ColumnLikelihood, Likelihood, column_likelihood_type
from vaelab.vae.likelihoods.poisson import Counts, shifted
from vaelab.vae.spec import Spec

LED = "likelihood."
ROWS = 32  # rows are padded to a multiple, so that elementwise code has no remainder, whose rounding differs


@dataclasses.dataclass(frozen=True)
class Part:
    """Columns of one kind, next to each other in the model's units and outputs."""

    name: str
    likelihood: ColumnLikelihood
    columns: slice
    outputs: slice

    @property
    def width(self) -> int:
        return int(self.columns.stop - self.columns.start)

    def own(self, parameters: Parameters) -> dict[str, Tensor]:
        """Its parameters, as its noise model names them."""
        lead = f"{LED}{self.name}."
        return {LED + name.removeprefix(lead): value for name, value in parameters.items() if name.startswith(lead)}

    def named(self, own: Parameters) -> dict[str, Tensor]:
        """The inverse of `own`."""
        return {f"{LED}{self.name}.{name.removeprefix(LED)}": value for name, value in own.items()}


class Mixed(Likelihood):
    """-log p(x|z) = the sum over the cells that are there, each by the noise model of its column's kind.

    Missing cells are assumed to be missing at random (Nazabal et al. 2020, "Handling incomplete heterogeneous data
    using VAEs"). Costs are in the data's own units: densities of real numbers include the scale of their column, those
    of positive numbers, whose logarithm is modelled, also the value. The mean of a count is relative to its mean in
    training, and, where counts are compared with their total, to the size of its row, which is given.
    """

    link: ClassVar = None

    def __init__(self, spec: Spec, scaling: Scaling):
        assert scaling.typed is not None, "the scaling of typed columns"
        self.typed = typed = scaling.typed
        least = torch.from_numpy(typed.least)
        names = {
            ("real", "date"): spec.real_likelihood,
            ("positive",): spec.real_likelihood,
            ("count",): spec.count_likelihood,
            ("binary",): "bernoulli",
            ("categorical",): "categorical",
            ("ordinal",): "ordinal",
        }
        parts, start = [], 0
        for kinds, name in names.items():
            place = typed.places(*kinds)
            if place.stop == place.start:
                continue
            columns = typed.columns[place]
            own = column_likelihood_type(name).for_columns(spec, columns, least[place])
            width = own.head(len(columns))
            parts.append(Part(kinds[0], own, place, slice(start, start + width)))
            start += width
        self.parts, self.width = tuple(parts), start
        self.is_mass = all(part.likelihood.is_mass for part in self.parts)
        self.counts, self.logs = typed.places("count"), typed.places("positive")
        # What turns a cost into one in the data's own units, by column.
        density = [not c.condition and c.kind in ("real", "date", "positive") for c in typed.columns]
        self.jacobians = torch.from_numpy(np.where(density, np.log(scaling.scale), 0.0))
        self.log_offset = torch.from_numpy(scaling.offset[self.logs])
        self.log_scale = torch.from_numpy(scaling.scale[self.logs])
        self.base = torch.from_numpy(typed.base[self.counts])

    @classmethod
    def for_spec(cls, spec: Spec, is_image: bool, scaling: Scaling | None = None) -> Mixed:
        assert scaling is not None, "the scaling of typed columns"
        return cls(spec, scaling)

    @classmethod
    def scaling(cls, data: Dataset, spec: Spec) -> Scaling:
        if data.is_image or not data.columns:
            raise InputError(
                "likelihood = mixed describes the columns of a table, but the data are images; leave it out."
            )
        return with_filling(Scaling.by_kind(data, spec.size_factor), data)

    def check_rows(self, rows: npt.NDArray[Any], scaling: Scaling) -> None:
        assert scaling.kept is not None
        check_levels(rows[:, scaling.kept], self.typed.columns, "X")
        for column, j in zip(self.typed.columns, scaling.kept, strict=True):
            values = rows[:, j]
            bad = values <= 0 if column.kind == "positive" else values < 0 if column.kind == "count" else None
            if bad is None or not bad.any():
                continue
            row, rule = int(np.argmax(bad)), "positive" if column.kind == "positive" else "0 or more"
            raise InputError(
                f"column {column.name or j!r} must be {rule}, but row {row} holds {float(values[row]):g}; correct it, "
                "or leave it empty if it is unknown."
            )

    def log_jacobian(self, scaling: Scaling, features: int) -> float:
        """0: costs are in the data's own units."""
        return 0.0

    def head(self, features: int) -> int:
        return self.width

    def shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for part in self.parts:
            own = part.likelihood.shapes(part.width)
            shapes |= {f"{LED}{part.name}.{name.removeprefix(LED)}": shape for name, shape in own.items()}
        return shapes

    def initial(self, x: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for part in self.parts:
            own, model = x[:, part.columns], part.likelihood
            start = model.initial(own, self._log_expected(x)) if isinstance(model, Counts) else model.initial(own)
            found |= part.named(start)
        return found

    def refit(self, outputs: Tensor, x: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for part in self.parts:
            found |= part.named(part.likelihood.refit(outputs[:, part.outputs], x[:, part.columns]))
        return found

    def start(self, x: Tensor) -> Tensor:
        starts = []
        for part in self.parts:
            own, model = x[:, part.columns], part.likelihood
            starts.append(model.start(own, self._log_expected(x)) if isinstance(model, Counts) else model.start(own))
        return torch.cat(starts)

    def constant(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x = x.double()
        outputs, parameters = torch.empty(self.width, dtype=torch.float64), dict[str, Tensor]()
        for part in self.parts:
            own, model = x[:, part.columns], part.likelihood
            expected = (self._log_expected(x),) if isinstance(model, Counts) else ()
            best, found = model.constant(own, *expected)
            outputs[part.outputs] = best
            parameters |= part.named(found)
        return outputs, parameters

    @functools.lru_cache(maxsize=4)  # noqa: B019 - lives as long as its model
    def _constants(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        """Jacobians, scale and offset of logarithms, and means of counts: made once, as `vector`."""
        return tuple(t.to(device, dtype) for t in (self.jacobians, self.log_scale, self.log_offset, self.base))

    def _log_expected(self, x: Tensor) -> Tensor:
        """The logarithm of the mean (..., C) of each count: that in training, times the size of its row."""
        base = self._constants(x.dtype, x.device)[3]
        expected = torch.log(base)
        if self.typed.has_size:
            expected = expected + torch.log(sizes_of(x[..., self.counts], base))
        return expected

    def _costs(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Iterator[tuple[Part, Tensor]]:
        """The cost (..., D) of each part's cells, 0 where missing."""
        missing = torch.isnan(x)
        jacobians, log_scale, log_offset, _ = self._constants(x.dtype, x.device)
        for part in self.parts:
            own, out = x[..., part.columns], outputs[..., part.outputs]
            gaps = missing[..., part.columns]
            if isinstance(part.likelihood, Counts):
                out = shifted(out, self._log_expected(x))
            filled = own.masked_fill(gaps, part.likelihood.neutral).contiguous()
            costs = part.likelihood.cost(out.contiguous(), filled, part.own(parameters))
            if part.columns == self.logs:
                costs = costs + filled * log_scale + log_offset
            yield part, (costs + jacobians[part.columns]).masked_fill(gaps, 0.0)

    def cost(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        return torch.cat([costs for _, costs in self._costs(outputs, x, parameters)], -1)

    def nll(self, outputs: Tensor, x: Tensor, parameters: Parameters) -> Tensor:
        rows = x.shape[-2]
        more = -rows % ROWS
        if more:
            outputs, x = (functional.pad(part, (0, 0, 0, more)) for part in (outputs, x))
        total = functools.reduce(torch.add, [costs.sum(-1) for _, costs in self._costs(outputs, x, parameters)])
        return total[..., :rows]

    def head_constants(self) -> tuple[float, ...] | None:
        found: list[float] = [MIXED, Encoding(self.typed).width]
        begin = 0
        for part in self.parts:
            stated, model = part.likelihood.head_part(part.width), part.likelihood
            if stated is None:
                return None
            code, *others = stated
            count = sum(math.prod(shape) for shape in model.shapes(part.width).values())
            of_means = torch.log(self.base).tolist() if isinstance(model, Counts) else ()
            place = part.columns.start, part.width, part.outputs.start, begin, count
            numbers = [code, *place, *others, *of_means]
            found += [1 + len(numbers), *numbers]
            begin += count
        return tuple(found)

    def head_rows(self, x: Tensor) -> Tensor:
        """Rows [x, logarithm of the size, offset]: what the cost is besides those in the model's units."""
        size = x.new_zeros(len(x), 1)
        if self.typed.has_size:
            size = torch.log(sizes_of(x[:, self.counts], self.base.to(x)))
        there = ~torch.isnan(x)
        offset = (there * self.jacobians.to(x.device)).sum(1, keepdim=True)
        logs = x[:, self.logs] * self.log_scale.to(x.device) + self.log_offset.to(x.device)
        return torch.cat([x, size, (offset + logs.nansum(1, keepdim=True)).to(x)], 1)

    @property
    def is_dense(self) -> bool:
        complete = not any(column.missing or column.condition for column in self.typed.columns)
        return complete and not any(part.likelihood.is_mass for part in self.parts)

    def jacobian(self, x: Tensor) -> Tensor:
        jacobians, log_scale, log_offset, _ = self._constants(x.dtype, x.device)
        return jacobians.sum() + (x[:, self.logs] * log_scale + log_offset).sum(-1)

    def mean(self, outputs: Tensor, parameters: Parameters, size: Tensor | None = None) -> Tensor:
        """E[x|z] (..., D), of counts in a row of this `size` (..., 1), by default a typical one.

        Of a positive column, whose logarithm is modelled, this becomes the median.
        """
        return self._joined(lambda part, out: part.likelihood.mean(out, part.own(parameters)), outputs, size)

    def expectation(
        self, outputs: Tensor, weights: Tensor, parameters: Parameters, size: Tensor | None = None
    ) -> Tensor:
        return self._joined(
            lambda part, out: part.likelihood.expectation(out, weights, part.own(parameters)), outputs, size
        )

    def sample(
        self, outputs: Tensor, parameters: Parameters, generator: torch.Generator, size: Tensor | None = None
    ) -> Tensor:
        """One draw of x|z (..., D); without `size` also of the size of each row."""
        if size is None and self.typed.has_size:
            mean, spread = self.typed.size
            normal = torch.randn(
                (*outputs.shape[:-1], 1), generator=generator, dtype=torch.float64, device=outputs.device
            )
            size = torch.exp(float(mean) + float(spread) * normal).to(outputs)
        return self._joined(
            lambda part, out: part.likelihood.sample(out, part.own(parameters), generator), outputs, size
        )

    def _joined(self, of: Callable[[Part, Tensor], Tensor], outputs: Tensor, size: Tensor | None) -> Tensor:
        found = []
        for part in self.parts:
            out = outputs[..., part.outputs]
            if isinstance(part.likelihood, Counts):
                expected = torch.log(self.base.to(out))
                if self.typed.has_size:
                    expected = expected + (float(self.typed.size[0]) if size is None else torch.log(size))
                out = shifted(out, expected.expand(*out.shape[:-1], part.width))
            found.append(of(part, out))
        return torch.cat(found, -1)

    def floor(self, x: Tensor) -> None:
        """None: a density is unbounded as it gets sharper."""
