"""Splits by groups and the user's own, against sets and scikit-learn; groups of ids, and signs of replicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupShuffleSplit

from vaelab.data import SPLITS, from_arrays, load, split_rows
from vaelab.data.duplicates import near_copies
from vaelab.data.groups import find_groups, groups_by_split, shared_stems, stem
from vaelab.data.splits import given_splits
from vaelab.errors import InputError

Ints = npt.NDArray[np.int64]
few = settings(max_examples=60, deadline=None)
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


def assert_whole(splits: dict[str, Ints], groups: Sequence[Any] | Ints) -> None:
    """Every row is in one split, and so is every group."""
    assert tuple(splits) == SPLITS
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(groups)))
    homes: dict[Any, set[str]] = {}
    for name, rows in splits.items():
        assert len(rows) > 0
        for row in rows:
            homes.setdefault(groups[row], set()).add(name)
    assert all(len(found) == 1 for found in homes.values())


@few
@given(st.lists(st.integers(1, 12), min_size=3, max_size=40), st.integers(0, 1000), st.booleans())
def test_groups_are_whole_and_shares_as_near_as_a_group(sizes: list[int], seed: int, is_labelled: bool) -> None:
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    n = len(groups)
    labels = np.random.default_rng(seed + 1).integers(0, 3, n) if is_labelled else None
    if n < 5:
        return
    splits = split_rows(n, labels, seed, groups=groups)
    assert_whole(splits, groups)
    again = split_rows(n, labels, seed, groups=groups)
    assert all((splits[name] == again[name]).all() for name in SPLITS)
    if not is_labelled and n > 10 * max(sizes):  # else classes, or splits that must not be empty, have a say
        assert all(abs(len(splits[name]) - share * n) <= max(sizes) for name, share in SHARES.items())


def test_shares_of_rows_are_nearer_than_those_of_a_split_by_number_of_groups() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), rng.geometric(0.1, 60))
    n, ours, theirs = len(groups), [], []
    for seed in range(20):
        ours.append(len(split_rows(n, None, seed, groups=groups)["test"]) / n)
        cut = next(GroupShuffleSplit(1, test_size=0.2, random_state=seed).split(groups, groups=groups))
        theirs.append(len(cut[1]) / n)
    assert max(abs(share - 0.2) for share in ours) < 0.01
    assert np.std(theirs) > 10 * np.std(ours)


def test_classes_are_spread_whole_groups_at_a_time() -> None:
    groups = np.repeat(np.arange(80), 5)
    labels = groups % 8  # ten groups of each class
    for seed in range(5):
        splits = split_rows(400, labels, seed, groups=groups)
        assert_whole(splits, groups)
        for name, share in SHARES.items():
            assert (np.bincount(labels[splits[name]], minlength=8) == round(share * 50)).all()


def test_mixed_groups_keep_the_shares_of_classes() -> None:
    rng = np.random.default_rng(0)
    groups, labels = np.repeat(np.arange(200), 10), rng.integers(0, 4, 2_000)
    splits = split_rows(2_000, labels, 0, groups=groups)
    for name in ("validation", "test"):
        found = np.bincount(labels[splits[name]], minlength=4) / np.bincount(labels)
        np.testing.assert_allclose(found, SHARES[name], atol=0.01)


def test_every_group_is_sometimes_tested_and_seeds_differ() -> None:
    groups = np.repeat(np.arange(20), 4)
    tested = [set(groups[split_rows(80, None, seed, groups=groups)["test"]].tolist()) for seed in range(60)]
    assert set.union(*tested) == set(range(20))
    times = np.bincount([group for found in tested for group in found], minlength=20)
    assert times.max() < 30  # of 60, 12 expected; 30 is more than five standard errors off


def test_rows_without_groups_are_split_as_they_always_were() -> None:
    labels = np.arange(40) % 3
    assert split_rows(40, labels, 7)["validation"].tolist() == [7, 27, 29, 30]  # recorded before there were groups
    assert split_rows(40, None, 7)["validation"].tolist() == [6, 28, 34, 38]


@pytest.mark.parametrize("number", [1, 2])
def test_too_few_groups_are_refused(number: int) -> None:
    groups = np.arange(30) % number
    with pytest.raises(InputError, match=f"at least 3 groups .* but there (is|are) {number}; .*finer"):
        split_rows(30, None, 0, groups=groups)
    with pytest.raises(InputError, match="at least 2 groups"):
        split_rows(30, None, 0, test=0.0, groups=np.zeros(30, np.int64))


def test_three_groups_have_a_split_each() -> None:
    groups = np.repeat([0, 1, 2], [80, 15, 5])
    splits = split_rows(100, None, 0, groups=groups)
    assert_whole(splits, groups)
    assert len(splits["train"]) == 80


def test_an_official_test_split_stays_and_may_not_share_a_group() -> None:
    groups = np.repeat(np.arange(10), 4)
    test = np.arange(32, 40)
    splits = split_rows(40, None, 0, test, groups=groups)
    assert_whole(splits, groups)
    assert (splits["test"] == test).all()
    names = [f"patient {i}" for i in range(10)]
    with pytest.raises(InputError, match=r"group 'patient 7' are in (train|validation) and in test"):
        split_rows(40, None, 0, np.arange(30, 40), groups=groups, group_names=names)


def test_given_splits_are_read_in_any_words() -> None:
    words = ["Train", "training", "VALID", "val", "dev", "test", " testing ", "train"]
    splits, notes = given_splits(words, 8)
    assert {name: rows.tolist() for name, rows in splits.items()} == {
        "train": [0, 1, 7], "validation": [2, 3, 4], "test": [5, 6]
    }  # fmt: skip
    assert notes == ()


def test_validation_is_drawn_from_the_training_rows_if_it_is_not_given() -> None:
    words = ["train"] * 30 + ["test"] * 10
    groups = np.arange(40) // 2
    splits, notes = given_splits(words, 40, groups=groups)
    assert_whole(splits, groups)
    assert splits["test"].tolist() == list(range(30, 40))
    assert len(splits["validation"]) in (2, 4)
    assert "no validation rows" in notes[0]


@pytest.mark.parametrize(
    ("words", "groups", "said"),
    [
        (["train"] * 9 + ["tset"], None, ["'tset'", "did you mean 'test'", "row 9"]),
        (["train"] * 9 + [None], None, ["row 9 has none"]),
        (["train"] * 9 + ["valid"], None, ["test has none"]),
        (["test"] * 9 + ["valid"], None, ["train has none"]),
        (["train"] * 9, None, ["9 for 10 rows"]),
        (["train"] * 5 + ["test"] * 5, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4], ["group 'c'", "train", "test"]),
    ],
)
def test_bad_given_splits_are_refused(words: list[Any], groups: list[int] | None, said: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        given_splits(words, 10, groups=None if groups is None else np.array(groups), group_names="abcde")
    assert [part for part in said if part not in str(refused.value)] == [], refused.value


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("309_1", "309"), ("sampleA.rep2", "sampleA"), ("P01-T2", "P01"), ("TCGA-02-0001-01", "TCGA-02-0001"),
        ("N1A2", "N1A"), ("mouse 7", "mouse"), ("dog/p3_2.png", "dog/p3"), ("17", "17"), ("mouse", "mouse"),
        ("_1", "_"), ("...", "..."), ("", ""), ("ü_ö", "ü"),
    ],
)  # fmt: skip
def test_stems_of_ids(text: str, before: str) -> None:
    assert stem(text) == before


def test_groups_are_values_or_else_stems() -> None:
    found = find_groups([3.0, 1.0, 3.0, 1.0], 4)
    assert (found.codes.tolist(), found.names, found.by_stem) == ([1, 0, 1, 0], ("1", "3"), False)
    found = find_groups(["b_1", "a_1", "b_2"], 3)
    assert (found.codes.tolist(), found.names, found.by_stem) == ([1, 0, 1], ("a", "b"), True)
    with pytest.raises(InputError, match="'id' is different in each of the 3 rows"):
        find_groups(["x", "y", "z"], 3)
    with pytest.raises(InputError, match="row 1 has none"):
        find_groups(["x", None, "x"], 3)
    with pytest.raises(InputError, match="3 for 4 rows"):
        find_groups(["x", "y", "y"], 4)


@pytest.mark.parametrize(
    ("ids", "labels", "is_told"),
    [
        ([f"{i}_{j}" for i in range(20) for j in range(3)], None, True),
        ([f"p{i}" for i in range(20)] * 2, None, True),  # ids that repeat
        ([f"gene{i}" for i in range(60)], None, False),  # one stem
        ([f"{kind}_{i}" for kind in ("ctrl", "drug") for i in range(30)], None, False),  # conditions
        ([f"c{i}/{j}.png" for i in range(10) for j in range(6)], [i for i in range(10) for _ in range(6)], False),
        ([f"{a}{b}{c}" for a in "ABCD" for b in "ABCD" for c in "ABCD"], None, False),
        ([f"s{i}_1" for i in range(60)], None, False),
        ([f"s{i}_1" for i in range(60)] + ["s0_2", "s1_2"], None, False),  # too few share one
    ],
)
def test_only_ids_of_replicates_are_told(ids: list[str], labels: list[int] | None, is_told: bool) -> None:
    found = shared_stems(ids, "who", None if labels is None else np.array(labels))
    assert bool(found) == is_told
    assert all("--group who" in text and "group='who'" in text for text in found)


def replicates(n: int = 40, times: int = 5, spread: float = 0.01) -> tuple[list[str], npt.NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(n, 12)), times, axis=0)
    return [f"m{i}_{j}" for i in range(n) for j in range(times)], x + spread * rng.normal(size=x.shape)


def test_copies_across_splits_are_told_and_gone_with_groups() -> None:
    ids, x = replicates()
    data = from_arrays(x, id=np.array(ids))
    assert "--group id" in data.notes[0]
    (text,) = near_copies(data)
    assert "test rows are near-copies of training rows, such as m" in text
    grouped = from_arrays(x, id=np.array(ids), group="id")
    assert_whole(dict(grouped.splits), [each.split("_")[0] for each in ids])
    assert near_copies(grouped) == ()
    assert groups_by_split(grouped) == {"train": 28, "validation": 4, "test": 8}
    assert any("stems of id" in note for note in grouped.notes)
    assert near_copies(from_arrays(np.random.default_rng(1).normal(size=(200, 12)))) == ()


def clusters(rng: np.random.Generator, n: int, D: int, noise: float = 0.35) -> npt.NDArray[np.float64]:
    """Independent rows of three curved clusters."""
    which, t = rng.integers(0, 3, n), rng.uniform(-1.5, 1.5, n)
    centre, bend = 2.6 * rng.normal(size=(3, D)), 1.2 * rng.normal(size=(3, 2, D))
    curve = np.einsum("nk,nkd->nd", np.stack([t, t**2 - 1], 1), bend[which])
    return np.asarray(centre[which] + curve + noise * rng.normal(size=(n, D)))


def plane(rng: np.random.Generator, n: int, D: int) -> npt.NDArray[np.float64]:
    return np.asarray(np.tanh(rng.normal(size=(n, 2)) @ rng.normal(size=(2, D))))


def levels(rng: np.random.Generator, n: int, D: int) -> npt.NDArray[np.float64]:
    return np.column_stack([rng.integers(0, 2, (n, D - 2)), rng.normal(size=(n, 2))])


def heavy_tails(rng: np.random.Generator, n: int, D: int) -> npt.NDArray[np.float64]:
    return np.exp(2 * rng.normal(size=(n, D)))


@pytest.mark.parametrize("D", [8, 12, 50])
@pytest.mark.parametrize("n", [200, 2000])
@pytest.mark.parametrize("drawn", [clusters, plane, levels, heavy_tails])
def test_independent_rows_are_no_copies(drawn: Callable[..., npt.NDArray[np.float64]], n: int, D: int) -> None:
    rng = np.random.default_rng(D)
    x = drawn(rng, n, D) * 10.0 ** rng.integers(-3, 4, D)  # columns in various units
    assert near_copies(from_arrays(x)) == ()


@pytest.mark.parametrize("D", [8, 50])
@pytest.mark.parametrize(("times", "spread"), [(2, 0.01), (5, 0.1), (10, 0.02)])
def test_shuffled_repeats_are_copies(times: int, spread: float, D: int) -> None:
    rng = np.random.default_rng(D)
    x = np.repeat(rng.normal(size=(600 // times, D)), times, axis=0)
    x = (x + spread * rng.normal(size=x.shape)) * 10.0 ** rng.integers(-3, 4, D)
    assert "near-copies" in near_copies(from_arrays(rng.permutation(x)))[0]


@pytest.mark.parametrize("D", [8, 50])
def test_jittered_rows_of_clusters_are_copies(D: int) -> None:
    rng = np.random.default_rng(D)
    x = np.repeat(clusters(rng, 1000, D), 2, axis=0)
    assert "near-copies" in near_copies(from_arrays(rng.permutation(x + 0.003 * rng.normal(size=x.shape))))[0]


@pytest.mark.parametrize("D", [8, 50])
def test_frames_of_a_film_are_copies_while_in_order(D: int) -> None:
    rng = np.random.default_rng(D)
    at = np.arange(600)[:, None] / 30
    x = np.sin(at * rng.uniform(0.2, 1, D) + rng.uniform(0, 6, D)) + 0.02 * rng.normal(size=(600, D))
    assert "near-copies" in near_copies(from_arrays(x))[0]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    ids, x = replicates()
    lines = ["name,plan," + ",".join(f"x{i}" for i in range(12))]
    plan = [("train", "train", "train", "val", "test")[i // 5 % 5] for i in range(200)]
    lines += [
        f"{name},{word},{','.join(f'{v:.6f}' for v in row)}" for name, word, row in zip(ids, plan, x, strict=True)
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "by_id.csv").write_text(
        "name,split\n" + "".join(f"{name},{word}\n" for name, word in sorted(zip(ids, plan, strict=True)))
    )
    (tmp_path / "by_row.csv").write_text("split\n" + "".join(f"{word}\n" for word in plan))
    return tmp_path


@pytest.mark.parametrize("split", ["plan", "by_id.csv", "by_row.csv"])
def test_splits_come_from_a_column_or_a_file_and_are_read_again(
    table: Path, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(table)
    drop = [] if split == "plan" else ["plan"]
    data = load("t.csv", split=split, drop=drop, group="name")
    assert_whole(dict(data.splits), [i // 5 for i in range(200)])
    assert data.splits["test"].tolist() == [i for i in range(200) if i // 5 % 5 == 4]
    assert data.features == tuple(f"x{i}" for i in range(12))
    monkeypatch.chdir(table.parent)
    again = load(**data.source)
    assert again.groups is not None
    assert data.groups is not None
    assert (again.groups == data.groups).all()
    assert (again.splits["train"] == data.splits["train"]).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,split\nm0_0,train\n", "lacks id 'm0_1' and 198 more"),
        ("name,split\nm0_0,train\nm0_0,test\n", "'m0_0' twice"),
        ("name,part\nm0_0,train\n", "must have a column 'split'"),
        ("split\ntrain\ntest\n", "2 for 200 rows"),
        ("a,b,split\n1,2,train\n3,4,test\n", "columns id and split, or one column"),
    ],
)
def test_bad_files_of_splits_are_refused(table: Path, text: str, said: str) -> None:
    (table / "bad.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        load(table / "t.csv", split=str(table / "bad.csv"), drop=["plan"])


def test_names_that_are_neither_column_nor_ids_are_refused(table: Path) -> None:
    with pytest.raises(InputError, match=r"unknown group column of 't\.csv': 'nam'; did you mean 'name'"):
        load(table / "t.csv", group="nam")
    with pytest.raises(InputError, match=r"must exist, but .*nowhere.csv' does not"):
        load(table / "t.csv", split="nowhere.csv")
    np.save(table / "x.npy", np.random.default_rng(0).normal(size=(30, 3)))
    with pytest.raises(InputError, match="has none"):
        load(table / "x.npy", group="id")
