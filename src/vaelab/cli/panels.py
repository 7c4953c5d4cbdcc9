"""The panels of --help, which have the same names and the same options on every command."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

from vaelab.cli.naming import in_options, options_of
from vaelab.errors import InputError

PANELS = {
    "Data": (
        "target", "id", "drop", "type", "na", "transpose", "group", "repeated", "condition", "split", "split-seed",
        "data-dir", "data", "download", "against", "held-out", "rows", "labels", "x", "y", "noise", "forward",
        "gate", "given", "from", "to",
    ),
    "Model": (
        "latent-dim", "hidden", "epochs", "lr", "batch-size", "beta", "network", "set", "model", "starts",
        "seeds", "seed", "of", "components", "covariance", "points", "em-starts", "manifold", "reject",
        "spectrum", "flow", "prior",
    ),
    "Search": (
        "for", "yardstick", "trials", "search", "space", "sampler", "cohort", "prune", "finalists", "final-seeds",
        "final-epochs", "samples", "refine", "walk", "baselines", "npe",
    ),
    "Output": (
        "n", "weighted", "class", "z", "k", "draws", "std", "by", "interval", "top", "rank", "contamination",
        "open-test", "budget", "format", "frames", "great-circle", "figures", "corner", "out", "overwrite", "json",
        "path", "help",
    ),
    "Where it runs": (
        "workers", "device", "timeout", "ray", "cpus-per-worker", "gpus-per-worker", "storage", "study-name",
        "resume", "config",
    ),
}  # fmt: skip
PLACES = {name: (panel, i) for panel, names in PANELS.items() for i, name in enumerate(names)}


def name_of(option: Any) -> str:
    """The name of an option without its dashes: of its long form, where it has two."""
    return str(max(option.opts, key=len)).lstrip("-")


def is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


class Command(TyperCommand):
    """A command whose options are in their panels, panels and options in the order of the table."""

    def __init__(self, *given: Any, params: list[Any], **more: Any):
        rank = {panel: i for i, panel in enumerate(PANELS)}
        options = [each for each in params if is_option(each)]
        for option in options:
            option.rich_help_panel = PLACES[name_of(option)][0]
        options.sort(key=lambda option: (rank[option.rich_help_panel], PLACES[name_of(option)][1]))
        arguments = [each for each in params if each not in options]
        super().__init__(*given, params=[*arguments, *options], **more)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command; what it refuses, and what it tells, names its options."""
        with options_of({str(each.name): f"--{name_of(each)}" for each in self.params if is_option(each)}):
            try:
                return super().invoke(ctx)
            except InputError as error:
                raise type(error)(in_options(str(error))) from error

    def get_help_option(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        found: Any = super().get_help_option(ctx)
        if found is not None:
            found.rich_help_panel = PLACES["help"][0]
        return found
