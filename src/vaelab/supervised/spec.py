"""The settings that classifiers and regressors share. Imports neither torch nor sklearn."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vaelab.settings.spec import ModelSpec, Norm

Units = Annotated[int, Field(ge=1, le=16384)]
Share = Annotated[float, Field(ge=0, lt=1)]


class SupervisedSpec(ModelSpec):
    """The settings of a network that predicts a target, frozen and validated.

    Every layer has its own width and dropout, so that each can be searched as a number; settings of
    unused layers have no effect.

    >>> SupervisedSpec(layers=2, units1=128, units2=64, dropout1=0.2).hidden_sizes
    (128, 64)
    """

    per_member: ClassVar = ModelSpec.per_member | {
        "layers", "units1", "units2", "units3", "dropout1", "dropout2", "dropout3",
    }  # fmt: skip
    under_hidden: ClassVar = ("layers", "units1", "units2", "units3")
    of_convolutions: ClassVar = (*ModelSpec.of_convolutions, "pooling", "stem")
    of_data: ClassVar = (*ModelSpec.of_data, "shift", "flip", "erase")

    layers: Annotated[int, Field(ge=0, le=3)] = Field(2, description="hidden layers; use `hidden` for more than 3")
    units1: Units = Field(256, description="units of the first hidden layer")
    units2: Units = Field(128, description="units of the second hidden layer")
    units3: Units = Field(64, description="units of the third hidden layer")
    dropout1: Share = Field(0.2, description="dropout rate of the first hidden layer")
    dropout2: Share = Field(0.2, description="dropout rate of the second hidden layer")
    dropout3: Share = Field(0.2, description="dropout rate of the third and deeper hidden layers")
    norm: Norm = Field("batch", description="normalisation of the convolutions' outputs")
    pooling: Literal["stride", "max"] = Field(
        "max", description="how a stage of convolutions halves the size: stride, or 2 x 2 max pooling"
    )
    stem: Annotated[int, Field(ge=0, le=4096)] = Field(
        0, description="channels of a convolution at full size before the first stage; 0: none"
    )
    shift: Annotated[int, Field(ge=0, le=64)] = Field(
        0, description="maximum random shift of images in training, in pixels each way"
    )
    flip: Literal["none", "horizontal"] = Field(
        "none", description="mirror a random half of the images in training; predictions average both views"
    )
    erase: Share = Field(
        0.0, description="largest share of an image erased at random in training, in half of the images"
    )

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Widths of the hidden layers, in order."""
        return self.hidden if self.hidden is not None else (self.units1, self.units2, self.units3)[: self.layers]

    @property
    def idle(self) -> tuple[str, ...]:
        """Also the units and dropout of unused layers.

        >>> SupervisedSpec(network="conv", layers=2).idle
        ('units3', 'dropout3')
        """
        beyond = range(len(self.hidden_sizes) + 1, 4)
        unused = tuple(f"{name}{i}" for i in beyond for name in ("units", "dropout"))
        return tuple(dict.fromkeys(super().idle + unused))

    @property
    def dropouts(self) -> tuple[float, ...]:
        """The dropout rate after each hidden layer."""
        first = (self.dropout1, self.dropout2, self.dropout3)
        return tuple(first[min(i, 2)] for i in range(len(self.hidden_sizes)))

    @property
    def is_augmented(self) -> bool:
        """Whether images are shifted, mirrored or erased."""
        return self.shift > 0 or self.flip != "none" or self.erase > 0
