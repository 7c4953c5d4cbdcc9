"""What leaves as torch modules of tensors alone: predictors, and samplers of inverse problems.

Encoders and decoders are in `vae.modules`. All take and give values in the data's own units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from vaelab.classifier.fitted import FittedClassifier
from vaelab.errors import InputError
from vaelab.inverse.conditional import Coordinates
from vaelab.inverse.fitted import Inverter
from vaelab.inverse.flow import picked
from vaelab.regressor.density import LEAST, LOG_MOST
from vaelab.regressor.fitted import FittedRegressor
from vaelab.regressor.scores import LEVEL, half_width
from vaelab.supervised.fitted import FittedSupervised
from vaelab.vae.likelihoods.gaussian import Gaussian
from vaelab.vae.likelihoods.location_scale import LocationScale


class _Weights(nn.Module):
    """Holds parameters by their names, which have dots."""

    def __init__(self, weights: Mapping[str, Tensor]):
        super().__init__()
        self._names = tuple(weights)
        for i, weight in enumerate(weights.values()):
            self.register_buffer(f"weight{i}", weight.detach().clone())

    def by_name(self) -> dict[str, Tensor]:
        return {name: self.get_buffer(f"weight{i}") for i, name in enumerate(self._names)}


class Outputs(nn.Module):
    """The outputs (n, C) of a classifier's or regressor's network for examples x (n, *shape)."""

    def __init__(self, fitted: FittedSupervised):
        super().__init__()
        self.model, self.units = fitted.model, fitted.units
        self.weights = _Weights(fitted.parameters)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.units.convert(x.flatten(1), None)
        return self.model.answers(self.weights.by_name(), rows[None])[0].double()


class Classifier(nn.Module):
    """p(c|x) (n, C) = softmax(logits(x) / T)."""

    def __init__(self, fitted: FittedClassifier):
        super().__init__()
        self.outputs, self.temperature = Outputs(fitted), fitted.temperature

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.outputs(x) / self.temperature, 1)


class Regressor(nn.Module):
    """Mean, lower and upper end (n,) of the interval at `level`, for examples x (n, *shape)."""

    def __init__(self, fitted: FittedRegressor):
        super().__init__()
        self.outputs, self.unit = Outputs(fitted), fitted.target_scale
        self.level = min(LEVEL, fitted.highest_level)
        self.factor = half_width(fitted.extras["residuals"], self.level)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        location, log_scale = self.outputs(x).unbind(1)
        mean = self.unit.center + self.unit.scale * location
        half = self.factor * self.unit.scale * (torch.exp(log_scale.clamp_max(LOG_MOST)) + LEAST)
        return mean, mean - half, mean + half


class _Seen(nn.Module):
    """The network's values (n, C) of measurements y (n, *y_shape): `Coordinates.y_model` of tensors."""

    def __init__(self, space: Coordinates):
        super().__init__()
        r = space.x.size
        self.outputs, self.spectrum = len(space.y_scale), space.spectrum
        arrays = {
            "unit": space.y_scale[:, None], "mean": space.y.mean, "scale": space.y.scale, "basis": space.y.basis,
            "offset": space.scaling.offset[r:], "factor": space.scaling.scale[r:],
        }  # fmt: skip
        if self.spectrum:
            points = space.y_shape[-1]
            angle = np.pi / points * np.outer(np.arange(points), np.arange(points + 1))
            window = np.hanning(points + 2)[1:-1, None]
            arrays |= {"cosine": window * np.cos(angle), "sine": window * np.sin(angle)}
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(array, np.float64)))

    def forward(self, y: Tensor) -> Tensor:
        relative = y.double().reshape(y.shape[0], self.outputs, -1) / self.get_buffer("unit")
        parts = [relative.flatten(1)]
        if self.spectrum:
            curves = relative.reshape(y.shape[0], -1, y.shape[-1])
            cosine, sine = curves @ self.get_buffer("cosine"), curves @ self.get_buffer("sine")
            parts.append((cosine.square() + sine.square()).sqrt().flatten(1))
        own = (torch.cat(parts, 1) - self.get_buffer("mean")) / self.get_buffer("scale")
        c = own @ self.get_buffer("basis").T
        return (c - self.get_buffer("offset")) / self.get_buffer("factor")


class _Values(nn.Module):
    """What a flow reads of curves y (n, *y_shape): `Coordinates.y_read` of tensors."""

    def __init__(self, space: Coordinates):
        super().__init__()
        self.outputs = len(space.y_scale)
        self.register_buffer("unit", torch.from_numpy(space.y_scale[:, None]))
        self.register_buffer("mean", torch.from_numpy(space.y.mean[: math.prod(space.y_shape)]))

    def forward(self, y: Tensor) -> Tensor:
        relative = y.double().reshape(y.shape[0], self.outputs, -1) / self.get_buffer("unit")
        return relative.flatten(1) - self.get_buffer("mean")


class FlowSampler(nn.Module):
    """A draw of x ~ p(x|y) (n, *x_shape) for each of y (n, *y_shape), made of standard normals (n, D).

    Of a mixture of flows (n, D + 1): the last picks the flow.
    """

    def __init__(self, inverter: Inverter):
        super().__init__()
        assert inverter.flow is not None
        reads = _Values if inverter.flow.reads_curves else _Seen
        self.seen, self.space, self.scale = reads(inverter.space), inverter.space, inverter.flow.scale
        self.nets = nn.ModuleList(inverter.flow.nets)
        self.size = len(inverter.space.x.mean) if inverter.space.axes is not None else inverter.space.x.size
        self.normals = self.size + (len(self.nets) > 1)

    def forward(self, y: Tensor, normal: Tensor) -> Tensor:
        given, z = self.seen(y).float(), self.scale * normal[:, : self.size].float()
        found = torch.stack([net(given).transform.inv(z) for net in self.nets], 1)
        if len(self.nets) > 1:
            which = picked(normal[:, -1], len(self.nets))
            found = found.gather(1, which[:, None, None].expand(-1, 1, self.size))
        return self.space.x_of_axes(found[:, 0].double())


class Sampler(nn.Module):
    """The same by the conditional VAE: of standard normals (n, L + D) the first are z, the others the noise of x."""

    def __init__(self, inverter: Inverter):
        super().__init__()
        fitted = inverter.fitted
        self.seen, self.space, self.model = _Seen(inverter.space), inverter.space, fitted.model
        self.weights, self.latent = _Weights(fitted.parameters), fitted.spec.latent_dim
        self.normals = self.latent + self.model.features
        if not isinstance(self.model.likelihood, LocationScale):
            raise InputError(
                f"an inverse problem leaves with a density of a location and a scale, but was trained with likelihood "
                f"{fitted.spec.likelihood}; train it with likelihood = gaussian."
            )
        self.likelihood = self.model.likelihood

    def forward(self, y: Tensor, normal: Tensor) -> Tensor:
        weights = self.weights.by_name()
        z, noise = normal.float()[None].split([self.latent, self.model.features], 2)
        wide = torch.nn.functional.pad(z, (0, self.model.latent - self.latent))
        outputs = self.model.decode(weights, wide, y=self.seen(y).float()[None])
        if not isinstance(self.likelihood, Gaussian):  # of which a quantile is the normal itself
            noise = self.likelihood.quantile(0.5 * torch.erfc(-noise.double() / math.sqrt(2))).float()
        x = outputs + noise * self.likelihood.scale_of(weights)
        return self.space.x_own(x[0].double())
