"""What a model is, as numbers: every hyperparameter of one model. Imports neither torch nor sklearn."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic
from pydantic import Field, field_validator, model_validator

from vaelab.errors import InputError, shown, unknown_name
from vaelab.wording import counted

Activation = Literal["silu", "relu", "leaky_relu", "tanh", "gelu", "elu"]
LikelihoodName = Literal["auto", "bernoulli", "gaussian", "laplace", "huber"]
Binarize = Literal["none", "fixed", "dynamic"]
PriorName = Literal["normal", "mixture", "vamp"]
Schedule = Literal["constant", "cosine", "one-cycle"]
OptimizerName = Literal["adam", "adamw", "rmsprop", "sgd"]
Network = Literal["mlp", "conv"]
Norm = Literal["none", "batch", "group"]

# What shapes convolutions and means nothing to a network without them.
CONVOLUTIONS = ("channels", "blocks", "kernel", "norm")

# Written as '512-256'; whether they may be empty.
WIDTHS = {"hidden": True, "channels": False}


Channels = Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=12)]
Blocks = Annotated[int, Field(ge=0, le=16)]
Kernel = Annotated[int, Field(ge=1, le=31)]
CHANNELS_MEANING = "channels of the convolutions, as '32-64': one stage each, which halves the size"
BLOCKS_MEANING = "residual blocks in each stage of convolutions"
KERNEL_MEANING = "side of the convolutions' kernels; odd"


class ModelSpec(pydantic.BaseModel):
    """What the models of all systems have in common: how they are trained, and their hidden layers. Frozen."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    under_hidden: ClassVar[tuple[str, ...]] = ()  # settings that `hidden` overrides, without effect beside it
    of_convolutions: ClassVar[tuple[str, ...]] = CONVOLUTIONS  # settings without effect where there are none
    of_data: ClassVar[tuple[str, ...]] = ("network", *CONVOLUTIONS)  # settings that may not suit the data

    hidden: tuple[Annotated[int, Field(ge=1, le=16384)], ...] | None = Field(
        None,
        description="hidden widths, as '512-256' ('none': linear); overrides the settings of layers and their widths",
    )
    activation: Activation = Field("silu", description="activation of the hidden layers; each maps 0 to 0")
    network: Network = Field("mlp", description="dense layers, or convolutions with dense layers behind them")
    channels: Channels = Field((32, 64), description=CHANNELS_MEANING)
    blocks: Blocks = Field(0, description=BLOCKS_MEANING)
    kernel: Kernel = Field(3, description=KERNEL_MEANING)
    norm: Norm = Field("none", description="what normalises the convolutions' outputs")
    optimizer: OptimizerName = Field("adam", description="update rule, with the defaults of torch.optim")
    lr: Annotated[float, Field(gt=0, le=100)] = Field(2e-3, description="learning rate (its peak under one-cycle)")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="L2 penalty; decoupled under adamw")
    clip: Annotated[float, Field(gt=0)] = Field(
        200.0, description="largest gradient norm of one model; longer ones are cut to it"
    )
    schedule: Schedule = Field("one-cycle", description="course of the learning rate over the training")
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = Field("auto", description="examples per step")
    epochs: Annotated[int, Field(ge=1)] = Field(30, description="passes over the training split")
    precision: Literal["float32", "bf16"] = Field(
        "float32", description="number format of the networks' products in training; loss and weights stay float32"
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")] = Field(
        "auto", description="auto, cpu, cuda, cuda:N or mps"
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="seed of the initial weights, the order and the noise"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        # pydantic would read true as the number 1; no setting is a switch.
        if isinstance(value, bool):
            raise ValueError(f"`{info.field_name}` is not a switch, but got {value!r}")
        return value

    @field_validator(*WIDTHS, mode="before")
    @classmethod
    def _parse_widths(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        if isinstance(value, str):
            may_be_empty = WIDTHS[str(info.field_name)]
            parts = () if may_be_empty and value in ("", "none") else tuple(value.split("-"))
            if not all(part.isascii() and part.isdigit() for part in parts):
                example = "'512-256', or 'none'" if may_be_empty else "'32-64'"
                raise ValueError(f"`{info.field_name}` is written as {example}, but got {shown(value)}")
            return parts
        if isinstance(value, int) and not isinstance(value, bool):
            return (value,)
        return value

    @field_validator("kernel")
    @classmethod
    def _is_odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"`kernel` must be odd, so that it has a middle, but got {value}")
        return value

    @property
    def trains_alone(self) -> bool:
        """Whether a stack holds one member: on a CPU groups of channels are no faster than one member after the other,
        and round otherwise (benchmarks/convolutions.py).
        """
        return self.network == "conv" and not self.device.startswith("cuda")

    @property
    def idle(self) -> tuple[str, ...]:
        """Settings that have no effect beside the others, such as the channels of a network without convolutions."""
        return self.of_convolutions if self.network == "mlp" else ()

    @property
    def pretrain_epochs(self) -> int:
        """Epochs that train something else first."""
        return 0

    @property
    def ramp(self) -> int:
        """Epochs before the loss is the one that is meant: until then nothing is judged or kept."""
        return 0

    @classmethod
    def create(cls, **settings: Any) -> Self:
        """A Spec from keyword settings, with every fault told as one InputError.

        >>> Spec.create(latent_dim=0)
        Traceback (most recent call last):
        vaelab.errors.InputError: `latent_dim` must be greater than or equal to 1, but got 0.
        """
        for name in settings:
            if name not in cls.model_fields:
                raise unknown_name("setting", name, cls.model_fields)
        try:
            return cls(**settings)
        except pydantic.ValidationError as error:
            raise InputError(explain(error)) from None

    def but(self, **changes: Any) -> Self:
        """This spec with some settings changed, validated anew."""
        return self.create(**{**self.model_dump(), **changes})


class Spec(ModelSpec):
    """All hyperparameters of one VAE, frozen and validated.

    >>> Spec(latent_dim=2, hidden="64-32").hidden_sizes
    (64, 32)
    >>> Spec(layers=3, width=256, taper=0.5).hidden_sizes
    (256, 128, 64)
    """

    under_hidden: ClassVar = ("layers", "width", "taper")

    latent_dim: Annotated[int, Field(ge=1, le=4096)] = Field(16, description="number of latent dimensions")
    layers: Annotated[int, Field(ge=0, le=16)] = Field(
        2, description="hidden layers of the encoder; mirrored in the decoder"
    )
    width: Annotated[int, Field(ge=1, le=16384)] = Field(256, description="units of the first hidden layer")
    taper: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="width of a hidden layer as a share of the one before"
    )
    # Narrow, deep and of wide kernels: of what was tried at equal time, the lowest neg_elbo (benchmarks/README.md).
    channels: Channels = Field((16, 32), description=CHANNELS_MEANING)
    blocks: Blocks = Field(1, description=BLOCKS_MEANING)
    kernel: Kernel = Field(5, description=KERNEL_MEANING)
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="share of hidden units dropped in training")
    likelihood: LikelihoodName = Field("auto", description="p(x|z); auto chooses by the data's type and range")
    sigma: Literal["auto", "shared", "feature"] | Annotated[float, Field(gt=0)] = Field(
        "auto",
        description="scale of a density: a number, or learned: shared or per feature (auto: images share)",
    )
    threshold: Annotated[float, Field(gt=0)] = Field(1.0, description="Huber threshold, in units of the scale")
    binarize: Binarize = Field("none", description="draw pixels as 0 or 1: once per example, or anew at every visit")
    prior: PriorName = Field(
        "normal", description="p(z): standard normal, a Gaussian mixture that is learned too, or a VampPrior"
    )
    components: Annotated[int, Field(ge=1, le=1000)] = Field(
        10, description="Gaussians of a mixture prior; pseudo-inputs of a VampPrior"
    )
    covariance: Literal["full", "diag"] = Field("full", description="covariances of a mixture prior's Gaussians")
    pretrain: Literal["auto"] | Annotated[int, Field(ge=0)] = Field(
        "auto",
        description="of the epochs, the first ones as an autoencoder, before the mixture is fitted (auto: a third)",
    )
    beta: Annotated[float, Field(ge=0)] = Field(1.0, description="weight of the rate in the training loss")
    wx: Annotated[float, Field(ge=0)] = Field(1.0, description="weight of the distortion; inverse problems only")
    wy: Annotated[float, Field(ge=0)] = Field(
        0.0, description="weight of the misfit of f(x) in the training loss; inverse problems only"
    )
    warmup: Annotated[int, Field(ge=0)] = Field(0, description="epochs over which beta rises linearly from 0")
    free_bits: Annotated[float, Field(ge=0)] = Field(
        0.0, description="nats per latent dimension that the loss does not punish"
    )
    samples: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="importance samples per example in training")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.samples > 1 and self.free_bits > 0:
            raise ValueError("`free_bits` needs `samples` = 1: the importance-weighted bound has no KL term to relax")
        if self.prior != "normal" and self.free_bits > 0:
            raise ValueError("`free_bits` needs the normal prior: a mixture's rate is no sum over latent dimensions")
        if self.prior != "mixture" and self.pretrain not in ("auto", 0):
            raise ValueError(f"`pretrain` needs the mixture prior, but got {self.pretrain} with prior {self.prior!r}")
        if self.prior == "vamp" and self.norm == "batch":
            raise ValueError("the VampPrior needs `norm` none or group: its pseudo-inputs are no batch of the data")
        if self.pretrain_epochs >= self.epochs:
            raise ValueError(f"`pretrain` must be less than `epochs`, but got {self.pretrain} of {self.epochs}")
        if self.binarize != "none" and self.likelihood not in ("auto", "bernoulli"):
            raise ValueError(f"`binarize` needs the Bernoulli likelihood, but likelihood is {self.likelihood!r}")
        return self

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Widths of the encoder's hidden layers, in order; the decoder mirrors them."""
        if self.hidden is not None:
            return self.hidden
        return tuple(max(1, round(self.width * self.taper**i)) for i in range(self.layers))

    @property
    def layers_text(self) -> str:
        """The encoder's layers in one word or two.

        >>> Spec(hidden="64").layers_text, Spec(network="conv", hidden="none").layers_text
        ('64', 'conv 16-32, 1 block each')
        """
        hidden = "-".join(map(str, self.hidden_sizes))
        if self.network == "mlp":
            return hidden or "linear"
        blocks = f", {counted(self.blocks, 'block')} each" if self.blocks else ""
        return f"conv {written('channels', self.channels)}{blocks}" + (f", {hidden}" if hidden else "")

    @property
    def pretrain_epochs(self) -> int:
        """Epochs that train an autoencoder: z is the mean and the rate has no weight."""
        if self.prior != "mixture":
            return 0
        return self.epochs // 3 if self.pretrain == "auto" else self.pretrain

    @property
    def ramp(self) -> int:
        """Epochs as an autoencoder, and those over which beta rises."""
        return self.pretrain_epochs + self.warmup


def explain(error: pydantic.ValidationError) -> str:
    """One line that names the setting, the rule and the value of the first fault."""
    fault = error.errors()[0]
    if fault["type"] == "value_error":
        return f"{fault['ctx']['error']}."
    name = str(fault["loc"][0])
    # A setting that may be a word or a number fails once per kind; other settings' faults are not its rules.
    faults = [e for e in error.errors() if e["loc"][0] == name] if name not in WIDTHS else [fault]
    rule = " or ".join(dict.fromkeys(e["msg"].removeprefix("Input should be ") for e in faults))
    if rule.startswith("String should "):
        return f"`{name}` {rule.removeprefix('String ')}, but got {shown(fault['input'])}."
    return f"`{name}` must be {rule}, but got {shown(fault['input'])}."


def parse_value(name: str, text: str, of: type[ModelSpec] = Spec) -> Any:
    """The value of one `--set name=text`, left as text where the field wants a choice.

    >>> parse_value("lr", "1e-3"), parse_value("optimizer", "sgd"), parse_value("epochs", "5")
    (0.001, 'sgd', 5)
    """
    if name not in of.model_fields:
        raise unknown_name("setting", name, of.model_fields)
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return text if name in WIDTHS else value
    return text


def parse_settings(pairs: list[str], of: type[ModelSpec] = Spec) -> dict[str, Any]:
    """Settings from `name=value` strings, as `--set` takes them."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InputError(f"a setting is written name=value, but got {pair!r}.")
        settings[name.strip()] = parse_value(name.strip(), text.strip(), of)
    return settings


def number_kind(name: str, of: type[ModelSpec] = Spec) -> type | None:
    """int or float where the setting is a number, else None."""
    kinds: list[Any] = [of.model_fields[name].annotation]
    while kinds:
        kind = kinds.pop()
        if kind in (int, float):
            return typing.cast("type", kind)
        if typing.get_origin(kind) in (typing.Union, types.UnionType, Annotated):
            kinds.extend(typing.get_args(kind))
    return None


def allowed(name: str, of: type[ModelSpec] = Spec) -> str:
    """What a setting may be, in words, from its type and bounds.

    >>> allowed("latent_dim"), allowed("dropout"), allowed("prior"), allowed("batch_size")
    ('1 to 4096', '0 to below 1', 'normal, mixture, vamp', 'auto, or at least 1')
    """
    field = of.model_fields[name]
    if name in WIDTHS:
        return ("none, or " if WIDTHS[name] else "") + f"widths of {_allowed(field.annotation, [])}"
    return _allowed(field.annotation, field.metadata)


def _allowed(kind: Any, rules: Sequence[Any]) -> str:
    if typing.get_origin(kind) is Annotated:
        return _allowed(kind.__origin__, [part for rule in kind.__metadata__ for part in rule.metadata])
    if typing.get_origin(kind) is Literal:
        return ", ".join(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return _allowed(typing.get_args(kind)[0], [])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return ", or ".join(_allowed(part, []) for part in typing.get_args(kind) if part is not types.NoneType)
    bounds = {
        bound: getattr(rule, bound) for rule in rules for bound in ("ge", "gt", "le", "lt") if hasattr(rule, bound)
    }
    if not bounds:  # `device`, whose pattern spells its choices
        (pattern,) = (rule.pattern for rule in rules if hasattr(rule, "pattern"))
        return ", ".join(pattern.strip("^()$").replace(r"(:\d+)?", "[:N]").split("|"))
    low = str(bounds["ge"]) if "ge" in bounds else f"above {bounds['gt']}"
    if "le" in bounds or "lt" in bounds:
        to = "to" if "ge" in bounds else "up to"
        return f"{low} {to} {bounds['le']}" if "le" in bounds else f"{low} {to} below {_short(bounds['lt'])}"
    return f"at least {low}" if "ge" in bounds else low


def _short(bound: float) -> str:
    return "2**63" if bound == 2**63 else str(bound)


def written(name: str, value: Any) -> str:
    """A setting's value as `--set` takes it.

    >>> written("hidden", (512, 256)), written("hidden", ()), written("lr", 1e-3)
    ('512-256', 'none', '0.001')
    """
    return "-".join(map(str, value)) or "none" if name in WIDTHS else str(value)


def check_idle(settings: Mapping[str, Any], of: type[ModelSpec] = Spec) -> None:
    """Refuse settings of convolutions for a network without them.

    >>> check_idle({"channels": "16-32"})
    Traceback (most recent call last):
    vaelab.errors.InputError: `channels` shapes convolutions, but network is mlp; set network = conv too.
    """
    idle = [name for name in of.of_convolutions if name in settings]
    if idle and settings.get("network", "mlp") == "mlp":
        raise InputError(f"`{idle[0]}` shapes convolutions, but network is mlp; set network = conv too.")


def settings_table(of: type[ModelSpec] = Spec) -> list[tuple[str, str, str, str]]:
    """Name, default, allowed values and meaning of every setting, for the documentation; those of its own first.

    >>> settings_table()[0]
    ('latent_dim', '16', '1 to 4096', 'number of latent dimensions')
    """
    own = sorted(of.model_fields, key=lambda name: name in ModelSpec.model_fields)
    fields = ((name, of.model_fields[name]) for name in own)
    by = f"by {', '.join(of.under_hidden)}"
    return [
        (name, by if name == "hidden" else written(name, field.default), allowed(name, of), field.description or "")
        for name, field in fields
    ]
