"""Judge synthetic rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vaelab import data as data_module
from vaelab.data import Dataset
from vaelab.origin import told
from vaelab.synthetic import run as judging
from vaelab.use import load
from vaelab.vae.fitted import Fitted


@told
def judge_synthetic(
    run: str | Path | Fitted,
    rows: Any = None,
    *,
    data: Dataset | None = None,
    n: int | None = None,
    prior: str | None = None,
    target: str | None = None,
    reading: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Draw synthetic rows of a run's table and judge them against its test split, beside its training rows.

    run: the folder of a run or study, or a model, of a table.
    rows: judge these rows instead, from any source: a file, a data frame, or columns by name.
    data: the data of the run, if they came from arrays in memory.
    n: number of rows to draw, by default as many as there are training rows.
    prior: draw latents from the "model"'s prior (default), or from a Gaussian mixture "fitted" to those of training
        rows, which leaves out regions where none are.
    target: the column to predict, to learn whether rows are useful; by default the five that depend most on others.
    reading: how a file of `rows` is read, where that differs from the run's table, such as {"na": ["-9"]}.
    seed: of draws, folds and boosting.
    out: the folder; by default runs/<data>-synthetic-<time>. overwrite: replace existing output.
    say: called with a line for each step.

    Writes OUT/synthetic.csv if rows are drawn, OUT/results.json and OUT/report.html; returns the results. Raises
    InputError for bad input, before anything is written. The test split is opened once, and counted.

    >>> folder = getfixture("tmp_path")
    >>> table = {"a": [i % 7 for i in range(120)], "b": [i % 7 + i % 3 for i in range(120)]}
    >>> from vaelab import data, train
    >>> rows = data.from_arrays(table)
    >>> fitted = train(rows, {"latent_dim": 1, "epochs": 2}, out=folder / "run", figures=False).model
    >>> found = judge_synthetic(fitted, data=rows, out=folder / "rows")
    >>> found["rows"], found["validity"]["valid"]
    ({'train': 84, 'test': 24, 'synthetic': 84}, 1.0)
    """
    fitted = run if isinstance(run, Fitted) else load(run)
    own = data_module.load_again(fitted.facts.source) if data is None else data
    known = fitted.facts.reading.to_dict()
    chosen = None if reading is None else data_module.Reading.create(**{**known, **reading})
    return judging.synthetic(
        fitted, own, rows, n=n, prior=prior, target=target, reading=chosen, seed=seed, out=out, overwrite=overwrite,
        say=say,
    )  # fmt: skip
