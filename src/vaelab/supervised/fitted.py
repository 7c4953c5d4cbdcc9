"""A trained network with a target: outputs for new examples; saved to and loaded from a run folder."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelab import store
from vaelab.data import Scaling, rows_for
from vaelab.data.cells import check_levels
from vaelab.data.values import refuse_missing
from vaelab.engine.encoding import Encoding
from vaelab.engine.rows import as_tensor, grid_of
from vaelab.errors import InputError, StoreError
from vaelab.settings import checks
from vaelab.supervised.feed import units_of
from vaelab.supervised.model import SupervisedModel, outputs_of
from vaelab.supervised.spec import SupervisedSpec
from vaelab.vae.fitted import Array, DataFacts, scaling_arrays, take_scaling

Floats = npt.NDArray[np.float64]
FARTHEST = 20  # standard deviations from the mean beyond which images must have been scaled differently


class FittedSupervised:
    """One trained network, ready to use. Examples are in the data's own units.

    `row` (1, P) contains the parameters; `extras` what a subclass keeps besides: arrays in float64, by name.
    """

    kind: ClassVar[str]  # marks its runs in data.json
    command: ClassVar[str]  # which trains one
    spec_type: ClassVar[type[SupervisedSpec]]
    extra_shapes: ClassVar[Mapping[str, tuple[int, ...] | None]]  # None: a vector of any length

    def __init__(
        self,
        spec: Any,
        facts: DataFacts,
        scaling: Scaling,
        row: Tensor,
        extras: Mapping[str, Array],
        folder: Path | None = None,
    ):
        self.spec, self.facts, self.scaling, self.folder = spec, facts, scaling, folder
        self.row, self.extras = row, extras
        self.units = units_of(scaling, row.device)

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        raise NotImplementedError

    @property
    def predicts(self) -> str:
        """What it predicts, for its text."""
        raise NotImplementedError

    def __repr__(self) -> str:
        widths = (*(self.spec.channels if self.spec.network == "conv" else ()), *self.spec.hidden_sizes)
        layers = f"{self.spec.network} {'-'.join(map(str, widths)) or 'linear'}"
        where = f", {str(self.folder)!r}" if self.folder else ""
        return f"{type(self).__name__}({self.facts.name}, {layers}, {self.predicts}{where})"

    def double(self) -> Self:
        """The same model in float64, whose results do not depend on which rows are computed together."""
        return type(self)(self.spec, self.facts, self.scaling, self.row.double(), self.extras, self.folder)

    @functools.cached_property
    def model(self) -> SupervisedModel:
        features = int(np.prod(self.facts.shape)) if self.scaling.kept is None else len(self.scaling.kept)
        if self.scaling.typed is not None:
            features = Encoding(self.scaling.typed).width
        return SupervisedModel.for_spec(self.spec, features, self.outputs, grid_of(self.facts.shape, self.scaling))

    @property
    def parameters(self) -> dict[str, Tensor]:
        return self.model.views(self.row)

    @property
    def parameter_count(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.model.own_shapes(self.spec).values())

    def rows(self, x: Any) -> Array:
        """New examples as checked rows (n, D) in the data's own units; columns of a table are selected by name."""
        facts = self.facts
        rows = rows_for(x, facts.shape, dtype_hint=facts.dtype, columns=facts.columns, reading=facts.reading)
        if self.scaling.typed is not None:
            check_levels(rows, self.facts.columns, "X")
        else:
            refuse_missing(rows, self.facts.features, "train on a table with missing values")
        self._check_scale(rows)
        return np.ascontiguousarray(rows)

    def _check_scale(self, rows: Array) -> None:
        """Reject 8-bit images whose values are far outside the range of the training images."""
        if len(self.facts.shape) < 2 or self.facts.dtype == "uint8" or rows.dtype != np.uint8:
            return
        mean, std, highest = float(self.scaling.offset[0]), float(self.scaling.scale[0]), int(rows.max())
        if highest > mean + FARTHEST * std:
            raise InputError(
                f"the model was trained on images with values of {mean:.3g} ± {std:.3g}, but 8-bit ones with up to "
                f"{highest} were given; scale them as in training, such as by 1 / 255."
            )

    def outputs_for(self, x: Any) -> Floats:
        """The network's outputs (n, C) for examples x (n, *shape)."""
        batches = self.units.batches(as_tensor(self.rows(x)).to(self.row.device), 1)
        own: Floats = outputs_of(self.model, self.parameters, batches)[0]
        return own

    def save(
        self,
        folder: Path,
        history: Sequence[Mapping[str, Any]],
        metrics: Mapping[str, Any],
        overwrite: bool = False,
    ) -> Self:
        """Write the run folder atomically; returns this model with that folder."""
        arrays = {n: w.float().cpu().numpy() for n, w in self.model.unpad(self.row[0], self.spec).items()}
        arrays |= {**self.extras, **scaling_arrays(self.scaling)}
        facts = dataclasses.asdict(self.facts) | {"kind": self.kind}
        store.save_run(
            folder, spec=self.spec.model_dump(), data=facts, arrays=arrays, history=history, metrics=metrics,
            overwrite=overwrite,
        )  # fmt: skip
        return type(self)(self.spec, self.facts, self.scaling, self.row, self.extras, folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a run folder; raises StoreError that names any problem. The model is on the CPU."""
        run = store.load_run(checks.folder("folder", folder))
        if run.data.get("kind") != cls.kind:
            own = run.data.get("kind") or "VAE"
            raise StoreError(
                f"{run.folder} is the run of a {own}, not of a {cls.kind}; train one with `vaelab {cls.command}` "
                "(`vaelab predict` takes what `classify`, `regress` and `cluster` made)."
            )
        with store.interpreting(run.folder):
            return cls._of_run(run)

    @classmethod
    def _of_run(cls, run: store.Run) -> Self:
        spec, facts = cls.spec_type.create(**run.spec).replace(device="cpu"), DataFacts.from_dict(run.data)
        arrays = dict(run.weights)
        scaling = take_scaling(arrays, facts.columns)
        extras = {name: arrays[name] for name in cls.extra_shapes if name in arrays}
        fitted = cls(spec, facts, scaling, torch.empty(0), extras, run.folder)
        model = fitted.model
        expected: dict[str, Any] = {
            name: (shape, "float32")
            for name, shape in [*model.own_shapes(spec).items(), *((b.name, b.shape) for b in model.statistics)]
        }
        for name, shape in cls.extra_shapes.items():
            expected[name] = ((extras[name].size if name in extras else 0,) if shape is None else shape, "float64")
        store.check_arrays(arrays, expected, run.folder)
        weights = {name: torch.from_numpy(array) for name, array in arrays.items() if name not in extras}
        return cls(spec, facts, scaling, model.pad(weights, spec)[None], extras, run.folder)
