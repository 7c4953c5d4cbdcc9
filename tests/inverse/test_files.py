"""Problems from files and Python functions: names, units, tables, what is refused; their runs on the command line."""

import json
import re

import numpy as np
import pytest

import commands
from vaelab.errors import InputError
from vaelab.inverse import files
from vaelab.inverse.fitted import Inverter
from vaelab.inverse.python_function import function_of

pytestmark = pytest.mark.slow

QUICK = ["--set", "hidden=16", "--set", "epochs=2", "--samples", "4", "--refine", "5", "--walk", "0"]
QUICK += ["--no-baselines", "--no-flow"]

LEVER = """
import numpy as np
from lever_parts import ARM

def moment(x):
    return np.stack([x[:, 0] * ARM, x[:, 0] * x[:, 1]], 1)

def twice(x):
    return 2 * moment(x)

number = 3
"""

TOML = """
inputs = [{name = "force", unit = "N", low = 1, high = 5}, {name = "length", low = 0, high = 1}]
outputs = [{name = "moment", unit = "N m"}, {name = "work"}]
examples = 200
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A function in Python, a problem that it completes, a table, and a run of each."""
    path = tmp_path_factory.mktemp("lever")
    (path / "lever.py").write_text(LEVER)
    (path / "lever_parts.py").write_text("ARM = 0.5\n")
    (path / "broken.py").write_text("def f(x):\n    return x\n\nraise ValueError('no licence')\n")
    (path / "lever.toml").write_text(TOML)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    rows = np.column_stack([x, x.sum(1), x[:, 0] + 0.1 * rng.normal(size=200)])
    lines = [",".join(f"{v:.6g}" for v in row) for row in rows]
    lines[3] = ",1,2,3"
    (path / "pairs.csv").write_text("fat,water,red,blue\n" + "\n".join(lines) + "\n")
    for arguments in (
        ["lever.toml", "--forward", "lever.py:moment", "--out", "lever"],
        ["pairs.csv", "--x", "fat,water", "--out", "pairs"],
    ):
        done = commands.vaelab(["invert", *arguments, *QUICK], path)
        assert done.returncode == 0, done.stderr
    return path


def run(folder, *arguments):
    done = commands.vaelab([str(argument) for argument in arguments], folder)
    return done.returncode, done.stdout, done.stderr


def test_a_function_in_python_is_run_only_where_it_is_named(folder):
    (folder / "y.csv").write_text("work;moment\n1,5;1\n0,4;2\n")
    assert (
        "lever.py"
        not in (folder / "lever" / "config.toml").read_text() + (folder / "lever" / "problem.json").read_text()
    )
    code, _, told = run(folder, "solve", "lever", "--y", "y.csv")
    assert (code, told.count("\n")) == (2, 1)
    assert "FILE.py:NAME" in told
    code, out, _ = run(folder, "solve", "lever", "--y", "y.csv", "--forward", "lever.py:moment", "--json")
    assert code == 0
    for curve, (work, moment) in zip(json.loads(out)["curves"], [(1.5, 1), (0.4, 2)], strict=True):
        force, length = curve["solutions"][0]["x"]  # the closed form: force = moment / ARM, length = work / force
        assert force == pytest.approx(moment / 0.5, rel=0.1)
        assert force * length == pytest.approx(work, abs=0.1)
    code, _, told = run(folder, "solve", "lever", "--y", "y.csv", "--forward", "lever.py:twice")
    assert code == 2
    assert "is not the forward function of the run" in told
    code, out, _ = run(folder, "draw", "lever", "--y", "y.csv", "-n", "3")
    assert code == 0
    _, _, told = run(folder, "draw", "lever", "--y", "y.csv", "-n", "3", "--forward", "lever.py:moment")
    assert "f(x) of a draw misses its y by " in told
    rows = out.splitlines()  # in the dialect of the measurements
    assert rows[0] == "measurement;draw;force [N];length"
    assert re.fullmatch(r"0;1;-?\d+,\d+;-?\d+,\d+", rows[1])
    code, _, told = run(folder, "invert", "--config", "lever/config.toml", "--out", "again")
    assert code == 2
    assert "which is not recorded; name it again" in told


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("lever.py:weight", "has no function 'weight'; it has moment, twice"),
        ("lever.py:number", "has no function 'number'"),
        ("none.py:f", "is not a file"),
        ("broken.py:f", "failed: ValueError: no licence"),
        ("lever.py:", "is named as FILE.py:NAME"),
    ],
)
def test_a_file_without_the_function_is_refused(folder, monkeypatch, named, message):
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match=message):
        function_of(named)


def test_pairs_in_a_table_have_draws_but_no_solutions(folder):
    model = Inverter.load(folder / "pairs")
    assert (model.problem.inputs, model.problem.outputs_named) == (("fat", "water"), ("red", "blue"))
    assert json.loads((folder / "pairs" / "metrics.json").read_text())["inverse"]["failed"] == 1
    page = (folder / "pairs" / "report.html").read_text()
    assert "Posterior of the first scored measurements" in page
    assert "Comparison of methods" not in page
    code, out, told = run(folder, "draw", "pairs", "--y", "pairs.csv", "-n", "1")
    assert code == 0
    assert "no draw was compared with its y: the run stores no forward function" in told
    assert len(out.splitlines()) == 201
    code, _, told = run(folder, "solve", "pairs", "--y", "pairs.csv")
    assert (code, told.count("\n")) == (2, 1)
    assert "use `draw`" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pairs.csv"], "which columns of pairs.csv are x"),
        (["pairs.csv", "--x", "fats"], "unknown column of pairs.csv 'fats'; did you mean 'fat'"),
        (["pairs.csv", "--x", "fat", "--y", "fat"], "'fat' cannot be both x and y"),
        (["pairs.csv", "--x", "fat,water,red,blue"], "no columns besides x"),
        (["lever.toml", "--x", "force"], "lever.toml is none"),
        (["lever.toml"], "needs a forward function"),
        (["lever.toml", "--forward", "lever.py:moment", "--forward", "x0"], "give --forward once, FILE.py:NAME"),
        (["lever.toml", "--forward", "lever.py:moment", "--gate", "1,2,3"], "--gate is one number, or a list of 2"),
        (["product", "--gate", "1"], "has its own gate"),
        (["pairs.csv", "--x", "fat", "--trials", "2", "--yardstick", "precision"], "needs the forward function"),
    ],
)
def test_bad_arguments_are_one_line(folder, arguments, message):
    code, _, told = run(folder, "invert", *arguments)
    assert (code, told.count("\n")) == (2, 1)
    assert message in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('forward = "lever.py:moment"\ninputs = [{low = 0, high = 1}]', "a file cannot name a function in Python"),
        ('forward = "x0"\ninputs = [{low = 0}]', "input x0 needs low and high, by which it is drawn"),
        ('forward = "x0"\ninputs = [{name = "a"}]', "input x0 needs low and high, by which it is drawn"),
        ('forward = "x0"\ninputs = [{low = 0, hihg = 1}]', "'hihg'; did you mean 'high'"),
        ('forward = "x0"\ninputs = [{low = 0, high = 1, name = 3}]', "`name` of an entry of `inputs` is text"),
        ('forward = "x0"\ninputs = [{low = 0, high = 1}]\noutputs = ["a"]', "`outputs` is a list of one"),
        ('forward = "x0"\ninputs = [{low = 0, high = 1}]\noutputs = []', "`outputs` needs at least one entry"),
        ('forward = "x0"\ninputs = [{low = 0, high = 1}]\noutputs = [{name = "a"}, {}]', "needs 1 different name"),
        ('forward = "x0"\ninputs = [{prior = "cauchy"}]', "unknown prior of x0 'cauchy'; known: log-uniform, normal"),
        ('forward = "x0"\ninputs = [{prior = "normal", low = 0}]', "is normal, which has no `low`"),
        ('forward = "x0"\ninputs = [{prior = "normal", mean = 0}]', "input x0 needs mean and sd"),
        ('forward = "x0"\ninputs = [{prior = "normal", mean = 0, sd = 0}]', "`sd` of x0 must be above 0"),
        ('forward = "x0"\ninputs = [{prior = "log-uniform", low = 0, high = 1}]', "`low` of x0 must be above 0"),
        ('table = "pairs.csv"\nx = "fat"', "is a list of columns"),
        ("table = 3", "`table` of bad.toml is the name of a file"),
    ],
)  # fmt: skip
def test_a_file_is_checked_by_its_schema(folder, text, message):
    (folder / "bad.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        files.load(str(folder / "bad.toml"))


def test_a_file_may_name_a_table_and_bounds_of_its_inputs(folder):
    (folder / "own.toml").write_text(
        'table = "pairs.csv"\nx = ["fat"]\ny = ["red"]\ninputs = [{name = "fat", unit = "g", low = -9, high = 9}]\n'
        'outputs = [{unit = "V"}]\n'
    )
    problem = files.load(str(folder / "own.toml"))
    assert (problem.inputs, problem.outputs_named, problem.y_shape) == (("fat [g]",), ("y [V]",), ())
    assert problem.bounds.listed(1) == [(-9, 9)]


def test_many_measurements_are_one_short_table(folder):
    (folder / "y50.csv").write_text("moment;work\n" + "1;0.5\n" * 49 + "9;9\n")
    arguments = ["--forward", "lever.py:moment", "--samples", "5", "--top", "2", "--out", "all.csv"]
    code, out, _ = run(folder, "solve", "lever", "--y", "y50.csv", *arguments)
    assert code == 0
    assert len(out.splitlines()) < 30
    assert "best solution of each of 50 measurements; 1 without one" in out
    assert "force [N]" in out
    rows = (folder / "all.csv").read_text().splitlines()
    assert rows[0] == "measurement;rank;misfit;misfit of moment [N m];misfit of work;log_density;force [N];length"
    assert {row.split(";")[1] for row in rows[1:]} == {"1"}  # the lever has one solution
    assert len(rows) == 50
    (folder / "y5.csv").write_text("moment;work\n" + "1;0.5\n" * 5)
    _, out, _ = run(
        folder, "solve", "lever", "--y", "y5.csv", "--forward", "lever.py:moment", "--samples", "5", "--top", "2"
    )
    assert out.count("1 distinct solution from") == 5  # few rows each: every measurement has its own table
    (folder / "wrong.csv").write_text("moment,weight\n1,2\n")
    code, _, told = run(folder, "draw", "lever", "--y", "wrong.csv")
    assert (code, told.count("\n")) == (2, 1)
    assert "has none for 'work'; it has 'moment', 'weight'" in told
