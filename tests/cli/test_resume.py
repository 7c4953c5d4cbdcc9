"""What was interrupted names the command line that continues it, which needs the folder alone."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from commands import vaelab
from stored import snapshot
from vaelab.store.kinds import command_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]

SMALL = "--hidden 4 --latent-dim 2 --epochs 2"
STUDY = "--epochs 2 --hidden 4 --trials 1 --final-seeds 1 --figures none --workers 1 --search lr=1e-3..1e-2"
# A command, and where it is interrupted.
COMMANDS = {
    "train": (f"x.npz {SMALL} --seed 3 --open-test", "vaelab.vae.run.build_run_report"),
    "tune": (f"x.npz {STUDY}", "vaelab.study.tune.collect"),
    "classify": (f"x.npz --target y {STUDY}", "vaelab.study.tune.collect"),
    "regress": (f"x.npz --target t {STUDY}", "vaelab.study.tune.collect"),
    "compare": (
        "x.npz --model a:hidden=4 --model b:hidden=3 --epochs 1 --seeds 1 --workers 1 --figures none",
        "vaelab.comparison.run._conclude",
    ),
    "cluster": (
        f"x.npz --target y {SMALL} --components 2 --em-starts 1 --no-budget --figures none",
        "vaelab.latent.clusters.describe_clusters",
    ),
    "anomaly": (f"x.npz --target y --held-out 1 {SMALL} --rows 20 --components 2", "vaelab.latent.anomaly._judge"),
    "invert": (
        "pairs.npz --hidden 4 --epochs 1 --samples 2 --refine 1 --walk 0 --no-baselines --no-flow",
        "vaelab.inverse.run.draw",
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    x = rng.normal(size=(120, 3)).astype(np.float32)
    np.savez(folder / "x.npz", x=x, y=np.arange(120) % 2, t=x.sum(1))
    np.savez(folder / "pairs.npz", x=x, y=x[:, :1] + x[:, 1:2])
    return folder


def interrupt(monkeypatch: pytest.MonkeyPatch, command: str, data: Path, out: Path) -> str:
    """Begin and interrupt a command; the command line that is said to continue it."""

    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    arguments, where = COMMANDS[command]
    with monkeypatch.context() as patched:
        patched.setattr(where, pressed)
        done = vaelab([command, *arguments.split(), "--out", str(out)], data)
    assert done.returncode == 130, done.stderr
    found = re.search(r"note: interrupted; what was done so far is kept, and `vaelab (.*)` continues\.\n", done.stderr)
    assert found is not None, done.stderr
    return found[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_line_that_is_named_continues(
    command: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "one run"
    line = interrupt(monkeypatch, command, data, out)
    assert shlex.split(line) == [command, "--resume", str(out)]
    other = "train" if command != "train" else "tune"
    refused = vaelab([other, "--resume", str(out)], data)
    assert refused.returncode == 2
    assert f"was begun by `vaelab {command}`; use `vaelab {line}`." in refused.stderr
    done = vaelab(shlex.split(line), data)
    assert done.returncode == 0, done.stderr
    assert command_of(out) == command
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    again = vaelab(shlex.split(line), data)
    assert again.returncode == 0, again.stderr


def test_data_that_moved_are_named_beside_resume(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.npz").write_bytes((data / "x.npz").read_bytes())
    for command in ("train", "cluster", "anomaly"):
        interrupt(monkeypatch, command, tmp_path, tmp_path / command)
    (tmp_path / "x.npz").rename(tmp_path / "moved.npz")
    for command in ("train", "cluster", "anomaly"):
        done = vaelab([command, "--resume", command], tmp_path)
        assert done.returncode == 2
        assert "say by --data where they are now" in done.stderr
        done = vaelab([command, "--resume", command, "--data", "moved.npz"], tmp_path)
        assert done.returncode == 0, done.stderr


def test_the_other_data_of_a_test_of_scores_may_have_moved(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x.npz", "other.npz"):
        (tmp_path / name).write_bytes((data / "x.npz").read_bytes())
    monkeypatch.setitem(
        COMMANDS, "anomaly", (f"x.npz --against other.npz {SMALL} --rows 10 --components 2", COMMANDS["anomaly"][1])
    )
    interrupt(monkeypatch, "anomaly", tmp_path, tmp_path / "scores")
    (tmp_path / "other.npz").rename(tmp_path / "moved.npz")
    refused = vaelab(["anomaly", "--resume", "scores"], tmp_path)
    place = tmp_path / "other.npz"
    said = f"vaelab: the data of --against are no longer at {place}; say by --against where they are now.\n"
    assert (refused.returncode, refused.stderr) == (2, said)
    done = vaelab(["anomaly", "--resume", "scores", "--against", "moved.npz"], tmp_path)
    assert done.returncode == 0, done.stderr


def test_what_is_made_at_once_names_the_line_that_makes_it_anew(data: Path, tmp_path: Path) -> None:
    lines = {
        "run": f"vaelab train {data / 'x.npz'} {SMALL} --out run",
        "scores": f"vaelab anomaly run {data / 'x.npz'} --out scores",
        "drift": f"vaelab drift run {data / 'x.npz'} --out=drift",
    }
    for line in lines.values():
        done = vaelab(shlex.split(line)[1:], tmp_path)
        assert done.returncode == 0, done.stderr
    for name, own in (("scores", "anomaly"), ("drift", "drift")):
        for command in ("cluster", "anomaly"):
            refused = vaelab([command, "--resume", name], tmp_path)
            found = re.fullmatch(
                f"vaelab: {name} was written by `vaelab {own} RUN` in one go, so there is nothing to resume; "
                r"`vaelab (.*)` makes it anew\.\n",
                refused.stderr,
            )
            assert found is not None, refused.stderr
        done = vaelab(shlex.split(found[1]), tmp_path)
        assert done.returncode == 0, done.stderr


def test_what_was_killed_before_anything_was_kept_is_given_again(tmp_path: Path) -> None:
    (tmp_path / "run.partial").mkdir()
    (tmp_path / "run.partial" / "commands.json").write_text('["vaelab train digits --out run"]')
    done = vaelab(["train", "--resume", "run"], tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "give its command again, without --resume" in done.stderr


# What is changed in config.toml of an interrupted command, and how it is named.
CHANGES = {
    "tune": [
        ('"0.001..0.01"', '"0.001..0.1"', "lr searched = 0.001..0.1 instead of 0.001..0.01"),
        ("seed = 0\nsampler", "seed = 5\nsampler", "seed = 5 instead of 0"),
        ("epochs = 2", "epochs = 3", "epochs = 3 instead of 2"),
    ],
    "compare": [("seed = 0\nfigures", "seed = 5\nfigures", "was trained with seed = ")],
    "invert": [("seed = 0\nepochs", "seed = 5\nepochs", "was begun with seed = 0 instead of 5")],
    "cluster": [('hidden = "4"', 'hidden = "5"', "was trained with hidden = (4,) instead of (5,)")],
    "anomaly": [('hidden = "4"', 'hidden = "5"', "was trained with hidden = (4,) instead of (5,)")],
}


def kept(folder: Path) -> dict[Path, bytes]:
    """What is in a folder, but for what every command writes there."""
    return {path: content for path, content in snapshot(folder).items() if path.suffix in (".toml", ".safetensors")}


@pytest.mark.parametrize("command", CHANGES)
def test_what_was_changed_before_it_is_resumed_is_named(
    command: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    line = shlex.split(interrupt(monkeypatch, command, data, out))
    (config,) = tmp_path.glob("run*/config.toml")
    was = config.read_text()
    for old, new, told in CHANGES[command]:
        assert was.count(old) == 1, was
        config.write_text(was.replace(old, new))
        before = kept(config.parent)
        done = vaelab(line, data)
        assert done.returncode == 2, done.stderr
        assert told in done.stderr.splitlines()[-1]
        assert kept(config.parent) == before
    config.write_text(was)
    done = vaelab(line, data)
    assert done.returncode == 0, done.stderr
