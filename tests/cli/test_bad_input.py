"""Bad input on the command line: one line that gives rule, value and remedy; exit code 2; nothing written."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vaelab as package
from commands import process, vaelab
from vaelab import errors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(40, 3)).astype(np.float32)
    np.save(tmp_path / "table.npy", table)
    table[7, 2] = np.inf
    np.save(tmp_path / "holes.npy", table)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    (tmp_path / "space.toml").write_text("lr = '1e-3..1e-2'\nlatent_dims = '1..4'\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train holes.npy", ["inf", "row 7", "column 2"]),
        ("train table.npy --set likelihood=bernoulli", ["[0, 1]", "likelihood=gaussian"]),
        ("train digits --set latent_dims=2", ["latent_dims", "did you mean 'latent_dim'"]),
        ("tune digits --search latent_dims=1..4", ["latent_dims", "did you mean 'latent_dim'"]),
        ("tune digits --space space.toml", ["latent_dims", "did you mean 'latent_dim'"]),
        ("tune digits --search lr=3..1", ["low <= high", "low=3", "high=1"]),
        ("train digits --set latent_dim=0", ["--latent-dim", "1 to 4096", "got 0"]),
        ("train digits --set latent_dim=1000000000", ["--latent-dim", "4096"]),
        ("train digits --set lr=nan", ["lr", "finite", "nan"]),
        ("train digits --set batch_size=5000", ["--batch-size", "5000", "1258"]),
        ("tune digits --set batch_size=5000", ["--batch-size", "5000", "1258"]),
        ("train nothing.npy", ["nothing.npy"]),
        ("train digitz", ["digitz", "did you mean 'digits'"]),
        ("tune digits --out taken", ["taken", "--out"]),
        ("tune digits --out taken --overwrite", ["taken"]),
        ("train digits --out taken", ["taken", "--out"]),
        ("tune digits --search beta=0.1..4 --yardstick weighted_loss", ["beta", "weighted_loss", "neg_elbo"]),
        ("tune digits --search likelihood=bernoulli,gaussian", ["likelihood", "cannot be searched"]),
        ("tune digits --search binarize=none,dynamic", ["binarize", "cannot be searched"]),
        ("tune digits --search lr=1e-3..1e-2 --set lr=1e-3", ["lr", "both set and searched"]),
        ("tune digits --trails 5", ["--trails", "--trials"]),
        ("tune digits --trials five", ["--trials must be a whole number, but got 'five'"]),
        ("sample run -n 0", ["--n must be at least 1, but got '0'"]),
        ("train digits --timeout soon", ["--timeout must be a number, but got 'soon'"]),
        ("tuna digits", ["tuna", "tune"]),
        ("train", ["DATA", "--resume"]),
        ("train digits --set network=conv --set engine=fused", ["engine", "network", "mlp", "auto"]),
        ("invert --resume taken --trials 7", ["--trials", "leave out"]),
        ("invert --config taken/config.toml --samples 3", ["--samples", "leave out"]),
        ("invert product --resume taken", ["PROBLEM", "leave out"]),
        ("tune digits --sampler gird", ["gird", "did you mean 'grid'"]),
        ("tune digits --trials 0", ["trials", "from 1 to"]),
        ("tune digits --timeout -5", ["timeout", "positive"]),
        ("tune digits --workers 0", ["workers", "from 1 to"]),
        ("tune", ["DATA", "--resume"]),
        ("tune --resume nowhere", ["nowhere", "nothing to resume"]),
        ("evaluate nowhere", ["nowhere"]),
        ("evaluate taken", ["taken", "manifest.json"]),
        ("decode taken --z 1,x", ["taken"]),
        ("train digits --set epochs", ["name=value", "epochs"]),
        ("data missing.csv", ["missing.csv", "does not", "check the path"]),
        ("train --resume runs/none", ["runs/none", "nothing to resume"]),
        ("train digits --resume runs/none", ["DATA", "leave out"]),
        ("tune --resume taken --seed 3", ["--seed", "leave out"]),
        ("compare --config taken/config.toml --seeds 3", ["--seeds", "leave out"]),
        ("cluster", ["DATA", "--resume"]),
        ("anomaly", ["DATA", "--resume"]),
    ],
)
def test_one_line_and_nothing_written(folder: Path, arguments: str, said: list[str]) -> None:
    before = sorted(folder.rglob("*"))
    done = vaelab(arguments.split(), folder)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert [part for part in said if part not in done.stderr] == [], done.stderr
    assert sorted(folder.rglob("*")) == before
    assert (folder / "taken" / "thesis.txt").read_text() == "mine"


def test_a_process_tells_and_returns_the_same(folder: Path) -> None:
    arguments = ["train", "holes.npy"]
    alone = process(arguments, folder)
    inside = vaelab(arguments, folder)
    assert (alone.returncode, alone.stdout, alone.stderr) == (2, inside.stdout, inside.stderr)


def raised_texts(path: Path) -> list[str]:
    """What the InputErrors of a module say, without what they quote as a command."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    errors = [call for call in calls if ast.unparse(call.func) in ("InputError", "StoreError")]
    texts = [ast.unparse(error) for error in errors]
    return [re.sub(r"`vaelab [^`]*`", "", text) for text in texts]


def test_errors_speak_of_no_option_where_python_raises_them_too() -> None:
    root = Path(errors.__file__).parent
    texts = {path: raised_texts(path) for path in root.rglob("*.py") if not path.is_relative_to(root / "cli")}
    assert sum(map(len, texts.values())) > 100
    assert [text for found in texts.values() for text in found if re.search(r"--[a-z]", text)] == []


def test_the_package_lists_its_public_names_alone() -> None:
    assert dir(package) == sorted([*package.__all__, "__version__"])


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom vaelab.cli.app import app\n"
        "try:\n    app(['tune', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'sklearn', 'optuna', 'matplotlib', 'scipy', 'numpy'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "--search" in done.stdout
    assert done.stderr == "heavy: []\n"


MISSING = {
    "evaluate run": "run is not a run folder: there is no such folder; check the path.",
    "evaluate . rows.csv": "the data file must exist, but",
    "predict x.npy run": "x.npy is a file, not a run folder; the run comes first",
    "sample run": "run is not a run folder",
    "predict run x.npy": "run is not a run folder",
    "export run": "run is not a run folder",
    "solve run --y 1": "run is not a run folder",
    "anomaly run x.npy": "run is not a run folder",
    "anomaly runs/a --held-out 1": "unknown run or data set 'runs/a'; known: digits, fashion_mnist, mnist.",
    "anomaly digits --against rows.csv": "the data file must exist, but",
    "drift . x.npy --against rows.csv": "the data file must exist, but",
    "cluster digit": "unknown run or data set 'digit'; did you mean 'digits'?",
    "cluster rows.csv": "the data file must exist, but",
    "cluster --resume run": "run does not exist; there is nothing to resume",
    "compare rows.csv --model a: --model b:lr=1": "the data file must exist, but",
    "compare digits --model a: --model b:run": "/run is not a run folder: there is no such folder",
    "invert pairs.csv": "the data file must exist, but",
}


def test_what_is_not_there_is_told_before_large_libraries_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"0")
    code = (
        "import sys\nfrom vaelab.cli.main import main\n"
        f"for line in {list(MISSING)}:\n"
        "    sys.argv = ['vaelab', *line.split()]\n"
        "    try:\n        main()\n    except SystemExit as left:\n        assert left.code == 2, line\n"
        "print(sorted({'torch', 'sklearn', 'scipy', 'optuna', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
    for (line, told), said in zip(MISSING.items(), done.stderr.splitlines(), strict=True):
        assert told in said, line


PLAIN = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}


def test_a_terminal_without_the_signs_of_a_name_shows_their_codes_but_tables_are_utf8(tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_text("größe,b\n" + "".join(f"{i / 7:.3f},{i * i % 11}\n" for i in range(30)))

    def run(line: str) -> bytes:
        command = [sys.executable, "-m", "vaelab", *line.split()]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, env=PLAIN)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert b"gr\\xf6\\xdfe" in run("data u.csv")
    run("train u.csv --epochs 1 --hidden 4 --figures none --out r")
    shown = run("sample r -n 3 --noise")
    run("sample r -n 3 --noise --out s.csv")
    assert shown.decode().startswith("row,größe,b\n")
    assert shown == (tmp_path / "s.csv").read_bytes()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("Unable to allocate 116. TiB"), "not enough memory (Unable to allocate 116. TiB)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory"),
        (OSError(28, "No space left on device", "runs/a"), "runs/a: no space left on device"),
        (OSError("115008 requested and 51168 written"), "115008 requested and 51168 written; free some space"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("vaelab.use.load", fails)
    done = vaelab(["evaluate", "."], tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        "--target", "--drop", "--group", "--split", "--condition", "--id",
        "--type",
    ],
)  # fmt: skip
def test_unknown_columns_are_told_with_the_nearest(tmp_path: Path, options: str) -> None:
    rows = "\n".join(f"{i % 7},{i * i % 11},{i}" for i in range(30))
    (tmp_path / "t.csv").write_text(f"Weight,height,age\n{rows}\n")
    value = "weigth=count" if options == "--type" else "weigth"
    done = vaelab(["train", "t.csv", options, value], tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "'weigth'; did you mean 'Weight'?" in done.stderr, done.stderr
