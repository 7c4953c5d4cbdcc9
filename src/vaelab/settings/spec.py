"""The settings that all kinds of model share, and how settings are parsed and described. No torch."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic
from pydantic import Field, field_validator

from vaelab.errors import InputError, shown, unknown_name

Activation = Literal["silu", "relu", "leaky_relu", "tanh", "gelu", "elu"]
Schedule = Literal["auto", "averaged", "constant", "cosine", "one-cycle"]
OptimizerName = Literal["adam", "adamw", "rmsprop", "sgd"]
Network = Literal["mlp", "conv"]
Norm = Literal["none", "batch", "group"]

MOST_RECORDS, STRIDE_STEPS = 400, 50  # validations of a training run; steps between two, if there would be more

PLANNED = ("cosine", "one-cycle")  # schedules that end where they were meant to

# Settings that only affect convolutions.
CONVOLUTIONS = ("channels", "blocks", "kernel", "norm")

# Settings written as '512-256', and whether they may be empty.
WIDTHS = {"hidden": True, "channels": False}


MOST_LAYERS, MOST_EPOCHS = 64, 10_000_000

Channels = Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=12)]
Blocks = Annotated[int, Field(ge=0, le=16)]
Kernel = Annotated[int, Field(ge=1, le=31)]
CHANNELS_MEANING = "channels of the convolutions, such as '32-64': one stage each, which halves the size"
BLOCKS_MEANING = "residual blocks in each stage of convolutions"
KERNEL_MEANING = "kernel size of the convolutions; odd"


class ModelSpec(pydantic.BaseModel):
    """The settings that all kinds of model share: training and hidden layers. Frozen."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Settings in which members of one stack may differ, since they are applied per member; all others are shared.
    per_member: ClassVar[frozenset[str]] = frozenset(
        {"hidden", "optimizer", "lr", "weight_decay", "clip", "schedule", "seed"}
    )
    under_hidden: ClassVar[tuple[str, ...]] = ()  # settings that `hidden` overrides
    of_convolutions: ClassVar[tuple[str, ...]] = CONVOLUTIONS  # settings without effect if there are none
    of_inversion: ClassVar[tuple[str, ...]] = ()  # settings of inverse problems alone
    of_data: ClassVar[tuple[str, ...]] = ("network", *CONVOLUTIONS)  # settings that depend on the data

    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=16384)], ...], Field(max_length=MOST_LAYERS)] | None = Field(
        None,
        description="hidden widths, such as '512-256' ('none': linear); overrides other settings of layers and widths",
    )
    activation: Activation = Field("silu", description="activation of the hidden layers; each maps 0 to 0")
    network: Network = Field("mlp", description="dense layers, or convolutions followed by dense layers")
    channels: Channels = Field((32, 64), description=CHANNELS_MEANING)
    blocks: Blocks = Field(0, description=BLOCKS_MEANING)
    kernel: Kernel = Field(3, description=KERNEL_MEANING)
    norm: Norm = Field("none", description="normalisation of the convolutions' outputs")
    optimizer: OptimizerName = Field("adam", description="update rule, with the defaults of torch.optim")
    lr: Annotated[float, Field(gt=0, le=100)] = Field(2e-3, description="learning rate (its peak under one-cycle)")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="L2 penalty; decoupled under adamw")
    clip: Annotated[float, Field(gt=0)] = Field(
        200.0, description="largest gradient norm of a model; larger ones are clipped"
    )
    schedule: Schedule = Field(
        "auto",
        description="learning rate schedule; averaged: constant, and the mean of the weights of the last tenth of the "
        "steps is judged and kept (auto: averaged for dense networks, one-cycle for convolutions)",
    )
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = Field("auto", description="examples per step")
    epochs: Literal["auto"] | Annotated[int, Field(ge=1, le=MOST_EPOCHS)] = Field(
        "auto", description="passes over the training split; auto: 30, or as many as make 8,000 steps"
    )
    patience: Literal["auto"] | Annotated[float, Field(ge=0)] = Field(
        "auto",
        description="early stopping: training ends after this share of its epochs again without a better validation "
        "loss (0: never; auto: 0.5 if epochs is auto); not under cosine and one-cycle, which plan their end",
    )
    engine: Literal["auto", "fused", "autograd"] = Field(
        "auto",
        description="training steps by fused kernels where there are any (dense networks on a CPU), or by autograd",
    )
    precision: Literal["float32", "bf16"] = Field(
        "float32", description="precision of matrix products in training; loss and weights stay float32"
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")] = Field(
        "auto", description="auto, cpu, cuda, cuda:N or mps"
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="seed of the initial weights, example order and noise"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        # pydantic would read true as the number 1; no setting is boolean.
        if isinstance(value, bool):
            raise ValueError(f"`{info.field_name}` is not a boolean, but got {value!r}")
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
            raise ValueError(f"`kernel` must be odd, so that it has a centre, but got {value}")
        return value

    @property
    def trains_alone(self) -> bool:
        """Whether a stack has only one member: on a CPU grouped convolutions are no faster than one member at a time,
        and round differently (benchmarks/convolutions.py).
        """
        return self.network == "conv" and not self.device.startswith("cuda")

    @property
    def fuses(self) -> bool:
        """Whether fused kernels train this model, once automatic settings are resolved."""
        fits = self.network == "mlp" and self.precision == "float32" and self.device == "cpu"
        return fits and self.engine == "fused"

    @property
    def settled(self) -> Self:
        """This spec with the engine and the schedule that will train it, once other automatic settings are resolved."""
        fitting = "one-cycle" if self.network == "conv" else "averaged"
        spec = self.replace(schedule=fitting) if self.schedule == "auto" else self
        return spec if spec.fuses else spec.replace(engine="autograd")

    @property
    def stops_early(self) -> bool:
        """Whether training ends when validation stalls."""
        return float(self.patience) > 0 and self.schedule not in PLANNED

    @property
    def idle(self) -> tuple[str, ...]:
        """Settings without effect given the others, such as the channels of a network without convolutions."""
        of_convolutions = self.of_convolutions if self.network == "mlp" else ()
        return of_convolutions + (self.under_hidden if self.hidden is not None else ())

    @property
    def shared(self) -> tuple[tuple[str, object], ...]:
        """The settings that members of one stack share, besides padded widths: all that are not `per_member` or idle.

        A new setting is shared unless declared per member; at worst a stack is then smaller.
        """
        left_out = self.per_member.union(self.idle)
        return tuple((name, value) for name, value in self if name not in left_out)

    def stride(self, steps_per_epoch: int) -> int:
        """Epochs from one validation to the next, once automatic settings are resolved: 1, unless there are very many
        of a few steps each.

        >>> [ModelSpec(epochs=2000).stride(steps) for steps in (1, 4, 100)]
        [5, 5, 1]
        """
        return min(-(-int(self.epochs) // MOST_RECORDS), max(1, STRIDE_STEPS // steps_per_epoch))

    @property
    def ramp(self) -> int:
        """Epochs before training optimizes the final loss: until then no epoch is judged or kept."""
        return 0

    @classmethod
    def create(cls, **settings: Any) -> Self:
        """A Spec from keyword settings; raises a one-line InputError if they are invalid.

        >>> from vaelab import Spec
        >>> Spec.create(latent_dim=0)
        Traceback (most recent call last):
        vaelab.errors.InputError: `latent_dim` must be 1 to 4096 (a whole number), but got 0.
        """
        for name in settings:
            if name not in cls.model_fields:
                raise unknown_name("setting", name, cls.model_fields)
        try:
            return cls(**settings)
        except pydantic.ValidationError as error:
            raise InputError(explain(error, cls)) from None

    def replace(self, **changes: Any) -> Self:
        """This spec with some settings changed, validated again."""
        return self.create(**{**self.model_dump(), **changes})


def explain(error: pydantic.ValidationError, spec_type: type[ModelSpec]) -> str:
    """One line that names the setting, the rule and the value of the first fault."""
    fault = error.errors()[0]
    if fault["type"] == "value_error":
        return f"{fault['ctx']['error']}."
    name = str(fault["loc"][0])
    kind, rule = number_kind(name, spec_type), allowed(name, spec_type)
    if name in WIDTHS:
        return f"`{name}` must be {rule}, but got {shown(fault['input'])}."
    if kind is None and name != "device":
        rule = f"one of {rule}"
    of_numbers = "" if kind is None else " (a whole number)" if kind is int else " (a finite number)"
    return f"`{name}` must be {rule}{of_numbers}, but got {shown(fault['input'])}."


def parse_value(name: str, text: str, spec_type: type[ModelSpec]) -> Any:
    """The value of one `--set name=text`, left as text if the field is a choice.

    >>> [parse_value(name, text, ModelSpec) for name, text in {"lr": "1e-3", "optimizer": "sgd", "epochs": "5"}.items()]
    [0.001, 'sgd', 5]
    """
    if name not in spec_type.model_fields:
        raise unknown_name("setting", name, spec_type.model_fields)
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return text if name in WIDTHS else value
    return text


def parse_settings(pairs: list[str], spec_type: type[ModelSpec]) -> dict[str, Any]:
    """Settings from `name=value` strings, in `--set` syntax."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InputError(f"a setting is written name=value, but got {pair!r}.")
        name = name.strip()
        if name in settings:
            raise InputError(f"`{name}` is given twice, {settings[name]} and {text.strip()}; keep one of the two.")
        settings[name] = parse_value(name, text.strip(), spec_type)
    return settings


def number_kind(name: str, spec_type: type[ModelSpec]) -> type | None:
    """int or float if the setting is a number, else None."""
    kinds: list[Any] = [spec_type.model_fields[name].annotation]
    while kinds:
        kind = kinds.pop()
        if kind in (int, float):
            return typing.cast("type", kind)
        if typing.get_origin(kind) in (typing.Union, types.UnionType, Annotated):
            kinds.extend(typing.get_args(kind))
    return None


def allowed(name: str, spec_type: type[ModelSpec]) -> str:
    """The allowed values of a setting in words, from its type and bounds.

    >>> [allowed(name, ModelSpec) for name in ("lr", "norm", "batch_size", "hidden")]
    ['above 0 up to 100', 'none, batch, group', 'auto, or at least 1', 'none, or up to 64 widths of 1 to 16384']
    """
    field = spec_type.model_fields[name]
    return ("none, or " if WIDTHS.get(name) else "") + _allowed(field.annotation, field.metadata)


def _allowed(kind: Any, rules: Sequence[Any]) -> str:
    if typing.get_origin(kind) is Annotated:
        return _allowed(kind.__origin__, [part for rule in kind.__metadata__ for part in rule.metadata])
    if typing.get_origin(kind) is Literal:
        return ", ".join(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        (most,) = (rule.max_length for rule in rules if hasattr(rule, "max_length"))
        return f"up to {most} widths of {_allowed(typing.get_args(kind)[0], [])}"
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return ", or ".join(_allowed(part, []) for part in typing.get_args(kind) if part is not types.NoneType)
    bounds = {
        bound: getattr(rule, bound) for rule in rules for bound in ("ge", "gt", "le", "lt") if hasattr(rule, bound)
    }
    if not bounds:  # `device`, whose pattern lists its choices
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
    """A setting's value in `--set` syntax.

    >>> written("hidden", (512, 256)), written("hidden", ()), written("lr", 1e-3)
    ('512-256', 'none', '0.001')
    """
    return "-".join(map(str, value)) or "none" if name in WIDTHS else str(value)


def check_idle(settings: Mapping[str, Any], spec_type: type[ModelSpec]) -> None:
    """Reject settings of convolutions for a network without them.

    >>> check_idle({"channels": "16-32"}, ModelSpec)
    Traceback (most recent call last):
    vaelab.errors.InputError: `channels` applies to convolutions, but network is mlp; set network = conv too.
    """
    idle = [name for name in spec_type.of_convolutions if name in settings]
    if idle and settings.get("network", "mlp") == "mlp":
        raise InputError(f"`{idle[0]}` applies to convolutions, but network is mlp; set network = conv too.")


def settings_table(spec_type: type[ModelSpec]) -> list[tuple[str, str, str, str]]:
    """Name, default, allowed values and meaning of every setting, for the documentation; specific settings first.

    >>> from vaelab import Spec
    >>> settings_table(Spec)[0]
    ('latent_dim', '16', '1 to 4096', 'number of latent dimensions')
    """
    own = sorted(spec_type.model_fields, key=lambda name: name in ModelSpec.model_fields)
    fields = ((name, spec_type.model_fields[name]) for name in own)
    by = f"by {', '.join(spec_type.under_hidden)}"
    return [
        (
            name,
            by if name == "hidden" else written(name, field.default),
            allowed(name, spec_type),
            field.description or "",
        )
        for name, field in fields
    ]
