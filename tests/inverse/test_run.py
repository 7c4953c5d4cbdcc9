"""`invert` and `solve`: the command line, the folder, the JSON, what is refused, leaving nothing behind."""

import json
import signal

import numpy as np
import pytest

import commands
import vaelab
from vaelab.api.invert import invert
from vaelab.errors import InputError
from vaelab.inverse import calibration, problems
from vaelab.inverse.run import InversionWatch, resume
from vaelab.inverse.solve import solve
from vaelab.study import jobs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]

QUICK = {"hidden": "64-64", "epochs": 25, "lr": 3e-3}


@pytest.fixture(scope="module")
def inverted(tmp_path_factory):
    """A run of the product, which even a small network inverts."""
    problem = problems.built_in("product", train=4_000, validation=50, score=5)
    folder = tmp_path_factory.mktemp("inverse") / "run"
    return invert(problem, QUICK, samples=12, refine=10, walk=2, out=folder), problem


@pytest.fixture
def cli(tmp_path):
    """Runs the command line in tmp_path; returns exit code, standard output and standard error."""

    def call(*arguments):
        done = commands.vaelab([str(argument) for argument in arguments], tmp_path)
        return done.returncode, done.stdout, done.stderr

    return call


def test_the_results_are_the_document_that_is_promised(inverted):
    found, _ = inverted
    results = json.loads(json.dumps(found.results, allow_nan=False))
    assert set(results["gates"]) == {"slope", "pearson", "rmse", "all_pass"}
    assert results["gates"]["all_pass"] is True
    assert results["precision"] == 1
    assert results["unrefined"]["precision"] <= 1
    names = [b["method"] for b in results["baselines"]]
    for method in ("multi-start", "nearest examples"):
        for budget in ("candidates", "evaluations", "time"):
            assert f"{method}, equal {budget}" in names
    by_name = {b["method"]: b for b in results["baselines"]}
    assert by_name["multi-start, equal evaluations"]["evaluations"] <= results["network"]["evaluations"]
    assert by_name["exact sampler"]["precision"] == 1
    assert results["recall"] <= 1
    assert results["seconds"]["train"] > 0
    assert results["verdict"] == "ok"
    assert len(results["kl"]) == 4
    assert 1 <= results["filtered"]["distinct"] <= 12
    assert results["filtered"]["curves_without"] == 0
    assert results["posterior"]["reference"] is None  # without noise the exact posterior has no density
    ranks = results["posterior"]["calibration"]
    assert np.array(ranks["counts"]).sum(1).tolist() == [ranks["curves"]] * 4


def test_the_folder_holds_pictures_and_a_page(inverted):
    found, _ = inverted
    pictures = {path.stem for path in (found.folder / "figures").glob("*.png")}
    assert pictures == {"losses", "candidates", "ends", "race", "refinement", "calibration", "bands"}
    page = (found.folder / "report.html").read_text()
    assert "multi-start, equal time" in page
    assert "<script src" not in page
    assert "every gate" in page


def test_solve_ranks_distinct_solutions(inverted, tmp_path, cli):
    found, problem = inverted
    _, y = problem.rows("test")
    np.save(tmp_path / "y.npy", y[:2])
    np.savetxt(tmp_path / "y.csv", y[:2], delimiter=",")
    code, out, _ = cli("solve", found.folder, "--y", "y.npy", "--out", "all.npz", "--json")
    assert code == 0
    solved = json.loads(out)
    assert len(solved["curves"]) == 2
    for number, curve in enumerate(solved["curves"]):
        missed = [s["rmse"] for s in curve["solutions"]]
        assert missed == sorted(missed)
        assert [s["rank"] for s in curve["solutions"]] == list(range(1, len(missed) + 1))
        for solution in curve["solutions"]:
            ends = np.array(solution["x"]).ravel()
            t = np.linspace(0, 1, 50)
            product = (ends[0] * (1 - t) + ends[1] * t) * (ends[2] * (1 - t) + ends[3] * t)
            assert np.sqrt(np.mean((product - y[number]) ** 2)) < 0.1
    arrays = np.load(tmp_path / "all.npz")
    assert len(arrays["x"]) == len(arrays["curve"]) == sum(len(c["solutions"]) for c in solved["curves"])
    code, out, _ = cli("solve", found.folder, "--y", "y.csv")
    assert code == 0
    assert "distinct solutions" in out


def test_commands_for_other_models_refuse_its_run(inverted, cli):
    for arguments in (["sample"], ["evaluate"], ["predict"]):
        code, _, told = cli(*arguments, inverted[0].folder, *(["digits"] if arguments == ["predict"] else []))
        assert code == 2
        assert "is the run of an inverse problem; use `vaelab solve`" in told
        assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pairs.npz", "--forward", "__import__('os').system('touch hacked')"], "is not allowed at character 1"),
        (["pairs.npz", "--forward", "x0 + x1", "--forward", "x0"], "f(x) must have the shape of y"),
        (["x.npz"], "needs a forward function"),
        (["pairs.npz", "--forward", "x5"], "`x5` is not allowed"),
        (["two-bird"], "did you mean 'two-birds'"),
        (["product", "--forward", "x0"], "leave --forward"),
        (["product", "--search", "lr=1e-2..1e-3", "--trials", "2"], "`low <= high` must hold for lr"),
        (["product", "--search", "lr=1e-3..1e-2"], "a search needs at least one trial"),
        (["product", "--set", "likelihood=bernoulli"], "has a density"),
        (["product", "--set", "latent=2"], "unknown setting"),
        (["product", "--samples", "0"], "--samples must be at least 1"),
        (["pairs.npz", "--forward", "x0", "--noise", "-1"], "--noise is a standard deviation"),
        (["pairs.npz", "--forward", "x0", "--trials", "2", "--yardstick", "recall"], "whose solutions are all known"),
        (["low.toml"], "`low < high` must hold for input x0"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, cli, monkeypatch, arguments, message):
    monkeypatch.setattr(problems, "TRAIN", 500)  # the built-in ones need not be large to be refused
    x = np.random.default_rng(0).uniform(size=(100, 2))
    np.savez(tmp_path / "pairs.npz", x=x, y=x[:, 0])
    np.savez(tmp_path / "x.npz", x=x)
    (tmp_path / "low.toml").write_text('forward = "x0"\ninputs = [{low = 2, high = 1}]\n')
    before = sorted(path.name for path in tmp_path.iterdir())
    code, out, err = cli("invert", *arguments, "--out", "run")
    assert code == 2, err
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_bad_measurements_are_refused(inverted, tmp_path):
    found, _ = inverted
    np.save(tmp_path / "short.npy", np.zeros((2, 49)))
    np.savetxt(tmp_path / "short.csv", np.zeros((2, 49)), delimiter=",")
    (tmp_path / "words.csv").write_text("a,b\n")
    for name, message in [
        ("short.npy", "must have the shape (n, 50)"),
        ("short.csv", "must hold 50 numbers, one measurement, but holds 49"),
        ("words.csv", "must hold rows below its header, but has 0"),
        ("missing.npy", "must exist"),
    ]:
        with pytest.raises(InputError) as refused:
            solve(found.folder, tmp_path / name)
        assert message in str(refused.value)


def test_a_run_is_not_overwritten_unasked(inverted):
    found, problem = inverted
    with pytest.raises(InputError, match="exists"):
        invert(problem, QUICK, out=found.folder)


SEARCH = {
    "settings": {"hidden": "8", "epochs": 2}, "space": {"lr": (1e-3, 1e-2, "log"), "wy": (0.0, 1.0)}, "trials": 5,
    "samples": 3, "refine": 1, "walk": 1, "baselines": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def total():
    x = np.random.default_rng(0).uniform(size=(200, 2))
    return problems.create("sum", x, None, ["x0 + x1"], noise=0.01)


@pytest.fixture(scope="module")
def searched(total, tmp_path_factory):
    return invert(total, **SEARCH, out=tmp_path_factory.mktemp("searched") / "run")


class Stopped(Exception):
    pass


@pytest.mark.parametrize(("kind", "at"), [("trial", 2), ("epoch", 2)])
def test_a_stopped_run_resumes_as_if_it_had_not_been(searched, total, tmp_path, monkeypatch, kind, at):
    """Stopped in the search after two trials of a cohort of four, or in the final training after an epoch."""
    monkeypatch.setattr(jobs, "CHECKPOINT_SECONDS", 0.0)
    seen = []

    def stop(_):
        seen.append(1)
        if len(seen) == at:
            raise Stopped

    out = tmp_path / "run"
    with pytest.raises(Stopped):
        invert(total, **SEARCH, out=out, watch=InversionWatch(**{kind: stop}))
    assert not out.exists()
    with pytest.raises(InputError, match=r"--resume .* continues it, or `overwrite` it"):
        invert(total, **SEARCH, out=out)
    with pytest.raises(InputError, match="give it as `problem`"):
        resume(out)
    other = problems.create("sum", total.x[::-1], None, ["x0 + x1"], noise=0.01)
    with pytest.raises(InputError, match="from other examples"):
        resume(out, other)
    again = []
    found = resume(out, total, InversionWatch(**{kind: again.append}))
    assert len(again) == (3 if kind == "trial" else 1)
    assert (out / "model.safetensors").read_bytes() == (searched.folder / "model.safetensors").read_bytes()
    for name in ("gates", "precision", "bound", "kl"):
        assert found.results[name] == searched.results[name]

    def told(results):
        return [(t["settings"], t["value"]) for t in results["search"]["trials"]]

    assert told(found.results) == told(searched.results)
    assert not out.with_name("run.partial").exists()
    said = []
    finished = resume(out, total, InversionWatch(note=said.append))
    assert said == [f"{out} is finished; there is nothing to resume."]
    assert finished.results["bound"] == searched.results["bound"]
    with pytest.raises(InputError, match="no inversion was started there"):
        resume(tmp_path / "none", total)


def test_a_killed_run_resumes_by_its_config(tmp_path, cli):
    (tmp_path / "sum.toml").write_text(
        'forward = "x0 + x1"\ninputs = [{low = 0, high = 1}, {low = 0, high = 1}]\nexamples = 500\nnoise = 0.01\n'
    )
    arguments = [
        "invert",
        "sum.toml",
        "--set",
        "hidden=32",
        "--epochs",
        "8",
        "--samples",
        "5",
        "--no-baselines",
        "--no-flow",
    ]
    code = """
import os, signal
from vaelab.study import checkpoints, jobs
write = checkpoints.Checkpoint.write
def write_and_die(self, *where):
    write(self, *where)
    if self.state.epoch == 5:
        os.kill(os.getpid(), signal.SIGKILL)
jobs.CHECKPOINT_SECONDS, checkpoints.Checkpoint.write = 0.0, write_and_die
"""
    killed = commands.start([*arguments, "--out", "run"], code=f"import os; os.chdir({str(tmp_path)!r})\n{code}")
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    exit_code, out, _ = cli("invert", "--resume", "run", "--json")
    assert exit_code == 0
    resumed = json.loads(out)
    exit_code, out, _ = cli("invert", "--config", "run/config.toml", "--out", "again", "--json")
    assert exit_code == 0
    repeated = json.loads(out)
    for name in ("gates", "precision", "bound", "kl"):
        assert resumed[name] == repeated[name]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "again")]
    assert weights[0] == weights[1]
    for wrong, message in (
        (["--resume", "runs"], "runs does not exist; there is nothing to resume"),
        (["product", "--resume", "run"], "already knows the data and the options; leave out PROBLEM"),
        ([], "needs PROBLEM"),
    ):
        exit_code, _, err = cli("invert", *wrong)
        assert exit_code == 2
        assert message in err


def test_a_search_is_in_the_results_and_on_the_page(searched):
    found = searched
    assert [t["number"] for t in found.results["search"]["trials"]] == [0, 1, 2, 3, 4]
    assert found.results["search"]["yardstick"] == "precision"
    assert found.results["recall"] is None
    page = (found.folder / "report.html").read_text()
    assert "The search" in page
    assert {p.stem for p in (found.folder / "figures").glob("*.png")} == {
        "losses", "candidates", "refinement", "calibration", "corner-0", "corner-1", "corner-2",
    }  # fmt: skip


def test_the_walk_lowers_the_misfit_and_keeps_the_prior_where_all_fit(inverted):
    found, problem = inverted
    _, y = problem.rows("test")
    sampler = found.model.sampler
    before, none = sampler.walk(problem, y, 50, 0)
    after, calls = sampler.walk(problem, y, 50, 9)
    assert none == 0
    assert calls == 10 * len(y) * 50

    def missed(x):
        own = found.model.space.x_own(x.double()).numpy()
        return np.sqrt(((own[..., 0, :] * own[..., 1, :] - y[:, None]) ** 2).mean(-1)).mean()

    assert missed(after) < missed(before)
    # where every z fits equally, the walk leaves the prior's distribution of x as it is
    flat = problems.create("flat", problem.x[:100], np.zeros((100, 50)), lambda v: v[:, 0] * 0)
    walked, _ = sampler.walk(flat, y, 400, 6)
    drawn = sampler.draw(y, 400, seed=5)
    reference = calibration.Draws(walked[:1].double().numpy())
    assert abs(calibration.energy_distance(reference, drawn[0].double().numpy())) < 0.05


def test_from_python_by_arrays(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1_500, 2))
    model = vaelab.ConditionalVAE(["x0**2 + x1**2"], **QUICK, seed=1).fit(x)
    solved = model.solve([0.5], n=60)[0]
    assert len(solved) >= 10  # a circle of causes
    np.testing.assert_allclose((solved.x**2).sum(1), 0.5, atol=0.1)
    angles = np.arctan2(solved.x[:, 1], solved.x[:, 0])
    assert np.ptp(angles) > 3
    assert model.sample([0.5, 0.2], 7).shape == (2, 7, 2)
    pairs_only = vaelab.ConditionalVAE(**QUICK | {"epochs": 2}).fit(x[:200], (x[:200] ** 2).sum(1))
    assert pairs_only.sample([0.3], 5).shape == (1, 5, 2)
    again = vaelab.ConditionalVAE.load(pairs_only.save(tmp_path / "pairs"))
    np.testing.assert_array_equal(again.sample([0.3], 5), pairs_only.sample([0.3], 5))
    for unknown in (pairs_only, again):
        with pytest.raises(InputError, match="solutions need the forward function"):
            unknown.solve([0.3])
    with pytest.raises(InputError, match="not fitted yet"):
        vaelab.ConditionalVAE().sample([0.3])
