"""The options that fix a model's settings, the same on every command that trains. --help imports nothing heavy."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from vaelab.cli.completion import setting_names
from vaelab.cli.reading import OptionGroup
from vaelab.errors import InputError

if TYPE_CHECKING:
    from vaelab.settings.spec import ModelSpec


@dataclasses.dataclass(frozen=True)
class TrainingOptions(OptionGroup):
    """The settings of every kind of model, as text: those that most need have their own options, all have --set."""

    epochs: Annotated[str | None, Option("--epochs", metavar="N", help="passes over the training split")] = None
    hidden: Annotated[
        str | None, Option("--hidden", metavar="WIDTHS", help="hidden widths, such as 512-256; none: linear")
    ] = None
    lr: Annotated[str | None, Option("--lr", metavar="NUMBER", help="learning rate")] = None
    batch_size: Annotated[str | None, Option("--batch-size", metavar="N", help="examples per step")] = None
    device: Annotated[
        str | None,
        Option("--device", help="auto, cpu, cuda, cuda:N or mps"),
    ] = None
    settings: Annotated[
        list[str] | None,
        Option(
            "--set",
            metavar="NAME=VALUE",
            help="fix any setting, see `vaelab settings`; repeatable",
            autocompletion=setting_names,
        ),
    ] = None

    def fixed(self, kind: type[ModelSpec]) -> dict[str, Any]:
        """The settings that are given, by name; raises InputError for one that is given by both ways."""
        from vaelab.settings.spec import parse_settings, parse_value

        found = parse_settings(self.settings or [], kind)
        for field in dataclasses.fields(self):
            text = getattr(self, field.name)
            if field.name == "settings" or text is None:
                continue
            if field.name in found:
                option = "--" + field.name.replace("_", "-")
                raise InputError(f"`{field.name}` is given by {option} and by --set; keep one of the two.")
            found[field.name] = parse_value(field.name, text, kind)
        return found


@dataclasses.dataclass(frozen=True)
class InverseOptions(TrainingOptions):
    """The settings of a model that inverts y = f(x)."""

    latent_dim: Annotated[str | None, Option("--latent-dim", metavar="N", help="number of latent dimensions")] = None
    beta: Annotated[str | None, Option("--beta", metavar="NUMBER", help="weight of the rate in the training loss")] = (
        None
    )


@dataclasses.dataclass(frozen=True)
class SupervisedOptions(TrainingOptions):
    """The settings of a classifier or a regressor."""

    network: Annotated[
        str | None, Option("--network", metavar="mlp|conv", help="dense layers, or convolutions before them")
    ] = None


@dataclasses.dataclass(frozen=True)
class VAEOptions(InverseOptions, SupervisedOptions):
    """The settings of a VAE."""


VAE, SUPERVISED, INVERSE = VAEOptions(), SupervisedOptions(), InverseOptions()
