"""A data set as model input: gathered by row, scaled, dequantised or binarised, on the device."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from vaelab.data import Dataset, Scaling
from vaelab.engine.resolve import check_convolutions, resolve_training
from vaelab.engine.rows import Rows, Units
from vaelab.errors import InputError
from vaelab.vae.likelihoods.likelihood import likelihood_for, likelihood_type
from vaelab.vae.priors.prior import prior_type
from vaelab.vae.spec import FEW_ROWS, Spec

INITIAL_ROWS = 2_000  # training rows used to initialise the output scale
BASELINE_ROWS = 20_000  # training rows used to fit the model without latents


def resolve(spec: Spec, data: Dataset) -> Spec:
    """The spec with all automatic settings resolved: likelihood, batch size, device, engine."""
    changes = resolve_training(spec, data)
    if spec.likelihood == "auto":
        suggested = "bernoulli" if spec.binarize != "none" else data.suggested_likelihood()
        # Curves are features of one kind.
        changes["likelihood"] = "gaussian" if spec.network == "conv" and suggested == "mixed" else suggested
    rows = len(data.splits["train"])
    if spec.prior == "mixture":
        few = rows < FEW_ROWS
        if spec.covariance == "auto":
            changes["covariance"] = "diag" if few else "full"
        if spec.pretrain == "auto" and few:  # an autoencoder would memorise them
            changes["pretrain"] = 0
    prior = prior_type(spec.prior)
    prior.check(spec, rows)
    if not data.condition and (spec.wx != 1 or spec.wy != 0):
        name = "wx" if spec.wx != 1 else "wy"
        raise InputError(f"`{name}` weights a term of an inverse problem; leave it out, or use `vaelab invert`.")
    if changes.get("likelihood", spec.likelihood) != "mixed" and any(column.condition for column in data.columns):
        raise InputError(
            f"conditions need likelihood = mixed, but got {changes.get('likelihood', spec.likelihood)}; leave out "
            "`likelihood`, or `condition`."
        )
    if spec.prior == "vamp" and changes.get("likelihood", spec.likelihood) == "mixed":
        raise InputError(
            "the VampPrior's pseudo-inputs are real numbers, but this table has columns of other types or "
            "missing values; "
            "use prior = mixture."
        )
    if data.condition and not prior.is_standard:
        raise InputError(f"an inverse problem needs the normal prior, but got prior = {spec.prior!r}; leave it out.")
    if spec.network == "conv":
        if data.condition:
            raise InputError(
                "an inverse problem needs network = mlp, of which a flow reads curves by convolutions; leave it out."
            )
        check_convolutions(spec, data)
    return spec.replace(**changes).settled


class Feed(Rows):
    """Rows as VAE input, for one likelihood and one binarisation."""

    def __init__(self, data: Dataset, spec: Spec, scaling: Scaling | None = None):
        """`scaling` is that of a trained model; by default it is computed from the data."""
        assert spec.likelihood != "auto", "resolve the spec first"
        device = torch.device(spec.device)
        scaling = scaling or likelihood_type(spec.likelihood).scaling(data, spec)
        self.spec, self.likelihood = spec, likelihood_for(spec, data.is_image, scaling)
        super().__init__(data, Units(scaling, spec.binarize, device), device)
        assert not self.condition or (self.units.scaling.kept is None and spec.binarize == "none")
        self._visited = self._binarised() if spec.binarize == "fixed" else None

    @functools.cached_property
    def log_jacobian(self) -> float:
        """The offset from a distortion in the model's units to one in the data's own, in nats per example."""
        return self.likelihood.log_jacobian(self.units.scaling, self.features)

    def gather(self, rows: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Rows (n,) as model values (n, D) for training; `uniform` (n, D) if the units need it."""
        if self._visited is not None:
            return self._visited.index_select(0, rows).float()
        return self.units.convert(self._raw.index_select(0, rows), uniform)

    def _binarised(self) -> Tensor:
        return self.units.batches(self._raw, 1).gather(self.features, torch.uint8)
