"""What a shell completes beside options and files: `vaelab --install-completion`. Imports nothing heavy."""

from __future__ import annotations

import typer


def data_names(incomplete: str) -> list[str]:
    """Built-in data sets; a shell completes files where none fits."""
    return [name for name in ("digits", "fashion_mnist", "mnist") if name.startswith(incomplete)]


def setting_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the settings of the command's kind of model, for --set and --search."""
    from vaelab.supervised.spec import SupervisedSpec
    from vaelab.vae.spec import Spec

    kind = SupervisedSpec if ctx.info_name in ("classify", "regress") else Spec
    return [f"{name}=" for name in kind.model_fields if name.startswith(incomplete)]


def kinds(incomplete: str) -> list[str]:
    """Kinds of models, for `settings --of`."""
    return [name for name in ("vae", "classifier", "regressor", "inverse") if name.startswith(incomplete)]


def purposes(incomplete: str) -> list[str]:
    """What a model may be for."""
    return [name for name in ("density", "embedding", "clusters") if name.startswith(incomplete)]
