"""The options that fix a model's settings, the same on every command that trains. --help imports nothing heavy."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaelab.cli.reading import OptionGroup
from vaelab.errors import InputError

if TYPE_CHECKING:
    from vaelab.settings.spec import ModelSpec


def _option(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Model", **more)


@dataclasses.dataclass(frozen=True)
class TrainingOptions(OptionGroup):
    """The settings of every kind of model, as text: those that most need have their own options, all have --set."""

    epochs: Annotated[str | None, _option("--epochs", metavar="N", help="passes over the training split")] = None
    hidden: Annotated[
        str | None, _option("--hidden", metavar="WIDTHS", help="hidden widths, such as 512-256; none: linear")
    ] = None
    lr: Annotated[str | None, _option("--lr", metavar="NUMBER", help="learning rate")] = None
    batch_size: Annotated[str | None, _option("--batch-size", metavar="N", help="examples per step")] = None
    device: Annotated[
        str | None,
        typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps", rich_help_panel="Where it runs"),
    ] = None
    settings: Annotated[
        list[str] | None,
        _option("--set", metavar="NAME=VALUE", help="fix any setting, see `vaelab settings`; repeatable"),
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

    latent_dim: Annotated[str | None, _option("--latent-dim", metavar="N", help="number of latent dimensions")] = None
    beta: Annotated[str | None, _option("--beta", metavar="NUMBER", help="weight of the rate in the training loss")] = (
        None
    )


@dataclasses.dataclass(frozen=True)
class SupervisedOptions(TrainingOptions):
    """The settings of a classifier or a regressor."""

    network: Annotated[
        str | None, _option("--network", metavar="mlp|conv", help="dense layers, or convolutions before them")
    ] = None


@dataclasses.dataclass(frozen=True)
class VAEOptions(InverseOptions, SupervisedOptions):
    """The settings of a VAE."""


VAE, SUPERVISED, INVERSE = VAEOptions(), SupervisedOptions(), InverseOptions()
