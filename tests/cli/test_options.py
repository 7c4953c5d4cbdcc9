"""One grammar: the same option is spelled the same, and means the same, on every command."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer._completion_classes import completion_init

import vaelab as api
from commands import vaelab
from vaelab.classifier.spec import ClassifierSpec
from vaelab.cli.app import app
from vaelab.cli.panels import PANELS, PLACES, name_of
from vaelab.cli.settings import INVERSE, SUPERVISED, VAE, InverseOptions, SupervisedOptions, VAEOptions
from vaelab.errors import InputError
from vaelab.vae.spec import Spec

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
OF_ALL = {"--epochs", "--hidden", "--lr", "--batch-size", "--device", "--set"}
TRAINS = {
    "train": OF_ALL | {"--latent-dim", "--beta", "--network"},
    "tune": OF_ALL | {"--latent-dim", "--beta", "--network"},
    "compare": OF_ALL | {"--latent-dim", "--beta", "--network"},
    "cluster": OF_ALL | {"--latent-dim", "--beta", "--network"},
    "anomaly": OF_ALL | {"--latent-dim", "--beta", "--network"},
    "invert": OF_ALL | {"--latent-dim", "--beta"},
    "classify": OF_ALL | {"--network"},
    "regress": OF_ALL | {"--network"},
}

SETTINGS = OF_ALL | {"--latent-dim", "--beta", "--network"}


def options_of(name: str) -> dict[str, Any]:
    return {option: each for each in COMMANDS[name].params for option in each.opts if option.startswith("-")}


@pytest.mark.parametrize("name", TRAINS)
def test_a_command_has_options_for_the_settings_of_its_kind_of_model(name: str) -> None:
    assert set(options_of(name)) & SETTINGS == TRAINS[name]


def test_options_are_settings_as_set_gives_them() -> None:
    own = VAEOptions(latent_dim="8", hidden="64-32", lr="1e-3", epochs="auto", settings=["beta=0.5"])
    assert own.fixed(Spec) == {"latent_dim": 8, "hidden": "64-32", "lr": 1e-3, "epochs": "auto", "beta": 0.5}
    assert SupervisedOptions(network="conv", batch_size="32").fixed(ClassifierSpec) == {
        "network": "conv",
        "batch_size": 32,
    }
    assert InverseOptions(beta="2", device="cpu").fixed(Spec) == {"beta": 2, "device": "cpu"}
    assert VAE.fixed(Spec) == SUPERVISED.fixed(ClassifierSpec) == INVERSE.fixed(Spec) == {}


def test_a_setting_that_is_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match=r"`latent_dim` is given by --latent-dim and by --set; keep one of the two"):
        VAEOptions(latent_dim="8", settings=["latent_dim=8"]).fixed(Spec)
    with pytest.raises(InputError, match=r"`lr` is given twice, 0\.1 and 0\.2; keep one of the two"):
        VAEOptions(settings=["lr=0.1", "lr=0.2"]).fixed(Spec)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train digits --latent-dim 0", ["--latent-dim must be 1 to 4096 (a whole number)", "got 0"]),
        ("tune digits --epochs five", ["--epochs must be", "got 'five'"]),
        ("tune digits --search lr=1e-3..1e-2 --lr 1e-3", ["--lr is both set and searched"]),
        ("classify digits --latent-dim 8", ["--latent-dim"]),
        ("invert product --epochs 0", ["--epochs must be", "got 0"]),
        ("regress digits --device gpu", ["--device", "'gpu'"]),
        ("compare digits --hidden wide --model a: --model b:lr=1", ["--hidden is written as '512-256', or 'none'"]),
    ],
)
def test_bad_values_are_told_as_those_of_set(arguments: str, said: list[str], tmp_path: Path) -> None:
    done = vaelab(arguments.split(), tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert [part for part in said if part not in done.stderr] == [], done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_has_the_same_panels_on_every_command() -> None:
    for name, command in COMMANDS.items():
        options = [each for each in command.params if each.param_type_name == "option"]
        panels = [each.rich_help_panel for each in options]
        assert set(panels) <= set(PANELS), name
        assert list(dict.fromkeys(panels)) == [panel for panel in PANELS if panel in panels], name
    used = {name_of(each) for command in COMMANDS.values() for each in command.params if each.opts[0].startswith("-")}
    assert set(PLACES) - used == {"help"}


def completed(line: str, word: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What bash is told to complete the last word of a line with."""
    monkeypatch.setenv("_VAELAB_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"vaelab {line}{word}")
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) + 1))
    command = typer.main.get_command(app)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        command(prog_name="vaelab")
    return out.getvalue().split()


def test_a_shell_completes_names(monkeypatch: pytest.MonkeyPatch) -> None:
    completion_init()
    assert completed("train ", "dig", monkeypatch) == ["digits"]
    assert completed("train digits --set ", "lat", monkeypatch) == ["latent_dim="]
    assert completed("classify digits --search ", "drop", monkeypatch) == ["dropout1=", "dropout2=", "dropout3="]
    assert completed("settings --of ", "c", monkeypatch) == ["classifier"]


def test_an_option_of_other_commands_names_these(tmp_path: Path) -> None:
    done = vaelab(["train", "digits", "--trials", "3"], tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "vaelab: --trials is no option of `vaelab train`, but of tune, classify, regress, invert; see --help.\n"
    )
    assert "Possible options: --epochs" in vaelab(["train", "digits", "--epoch", "3"], tmp_path).stderr


def test_an_argument_that_a_call_does_not_have_is_told_with_what_was_meant() -> None:
    with pytest.raises(TypeError, match=r"vaelab.train has no argument 'epochs'; settings of the model are in `spec`"):
        api.train("digits", epochs=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"did you mean 'overwrite'\?"):
        api.train("digits", overwirte=True)  # type: ignore[call-arg]
