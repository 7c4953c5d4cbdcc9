"""Run folders: round trips, damage, replacement, openings of the test split."""

import errno
import hashlib
import json
import os
import random
import threading
import time

import numpy as np
import pytest

from stored import RUN_FILES, refusal, snapshot, weights, write_run
from vaelab import store
from vaelab.errors import StoreError
from vaelab.store import (
    count_test_opening,
    load_run,
    runs,
    update_metrics,
)


def test_run_round_trip(tmp_path):
    folder = write_run(tmp_path / "a" / "run", metrics={"neg_elbo": np.float64(2.25)})
    assert {p.name for p in folder.iterdir()} == RUN_FILES
    assert os.listdir(folder.parent) == ["run"]
    run = load_run(str(folder))
    assert run.folder == folder
    assert run.spec == {"latent_dim": 2, "hidden": [8, 4], "lr": 1e-3}
    assert run.data == {"name": "digits", "classes": ["null", "größer", "<img onerror=x>\n"]}
    assert run.history == [{"epoch": 0, "loss": 3.5}, {"epoch": 1, "loss": 2.5}]
    assert run.metrics == {"neg_elbo": 2.25}
    for key, array in weights().items():
        np.testing.assert_array_equal(run.weights[key], array)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["format"] == store.FORMAT == 1
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert set(manifest["files"]) == RUN_FILES - {"metrics.json", "manifest.json"}


def test_a_diverged_history_is_kept_with_nulls(tmp_path):
    rows = [
        {"loss": np.float32("nan"), "kl": np.array([1.0, np.inf])},
        {"loss": float("inf"), "kl": None},
        {},
    ]
    folder = write_run(tmp_path / "run", history=rows)
    assert load_run(folder).history == [{"loss": None, "kl": [1.0, None]}, {"loss": None, "kl": None}, {}]
    assert load_run(write_run(tmp_path / "short", history=[])).history == []


@pytest.mark.parametrize(
    "bad",
    [
        {"arrays": {"w": np.array([np.nan])}},
        {"metrics": {"neg_elbo": float("nan")}},
        {"spec": {"lr": float("inf")}},
        {"data": {"scale": np.array([np.nan])}},
    ],
)
def test_a_run_that_cannot_be_written_leaves_nothing(tmp_path, bad):
    refusal(write_run, tmp_path / "run", **bad)
    assert os.listdir(tmp_path) == []


def test_an_existing_run_is_kept_unless_told(tmp_path):
    folder = write_run(tmp_path / "run")
    before = snapshot(folder)
    assert "exists" in refusal(write_run, folder, spec={"new": 1})
    assert snapshot(folder) == before
    write_run(folder, spec={"new": 1}, overwrite=True)
    assert load_run(folder).spec == {"new": 1}
    assert os.listdir(tmp_path) == ["run"]
    (tmp_path / "empty").mkdir()
    assert load_run(write_run(tmp_path / "empty")).metrics == {"neg_elbo": 2.25}


def test_a_failed_replacement_puts_the_old_run_back(tmp_path, monkeypatch):
    folder = write_run(tmp_path / "run")
    before, rename = snapshot(folder), os.rename
    calls = []

    def second_fails(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    assert "no space left" in refusal(write_run, folder, spec={"new": 1}, overwrite=True)
    assert snapshot(folder) == before
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("name", sorted(RUN_FILES))
def test_a_missing_empty_or_foreign_file_is_named(tmp_path, name):
    folder = write_run(tmp_path / "run")
    whole = (folder / name).read_bytes()
    (folder / name).unlink()
    message = refusal(load_run, folder)
    assert name in message
    assert "missing" in message or "has no manifest.json" in message
    (folder / name).write_bytes(b"")
    assert f"{name} is empty" in refusal(load_run, folder)
    (folder / name).write_bytes(b"<!DOCTYPE html><html>404</html>" + b" " * len(whole))
    message = refusal(load_run, folder)
    assert name in message
    assert "web page" in message or "is not JSON" in message
    (folder / name).write_bytes(b"[]" if name.startswith("m") and name.endswith("json") else whole + b"\n")
    assert name in refusal(load_run, folder)
    (folder / name).write_bytes(whole)
    load_run(folder)


@pytest.mark.parametrize("name", sorted(RUN_FILES))
def test_truncation_at_20_lengths(tmp_path, name):
    folder = write_run(tmp_path / "run")
    whole = (folder / name).read_bytes()
    # Without its final newline a JSON file still says the same.
    last = len(whole) - 2 if name in ("metrics.json", "manifest.json") else len(whole) - 1
    for length in np.linspace(1, last, 20).astype(int):
        (folder / name).write_bytes(whole[:length])
        message = refusal(load_run, folder)
        # Only a cut inside a number, such as `2.`, looks like another fault.
        assert f"{name} is truncated" in message or (
            name == "metrics.json" and whole[length - 1 : length] == b"." and "is not JSON" in message
        )


@pytest.mark.parametrize("name", ["model.safetensors", "spec.json", "data.json", "history.jsonl"])
def test_200_flipped_bits(tmp_path, name):
    folder = write_run(tmp_path / "run")
    whole = (folder / name).read_bytes()
    generator = random.Random(0)
    for _ in range(200):
        damaged = bytearray(whole)
        bit = generator.randrange(8 * len(whole))
        damaged[bit // 8] ^= 1 << bit % 8
        (folder / name).write_bytes(damaged)
        message = refusal(load_run, folder)
        assert name in message
        assert "SHA-256" in message or "web page" in message


def test_a_flipped_bit_in_the_manifest_is_refused_or_harmless(tmp_path):
    folder = write_run(tmp_path / "run")
    whole = (folder / "manifest.json").read_bytes()
    good = load_run(folder)
    refused = 0
    for bit in range(0, 8 * len(whole), 5):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        (folder / "manifest.json").write_bytes(damaged)
        try:
            run = load_run(folder)
        except StoreError:
            refused += 1
        else:
            assert (run.spec, run.data, run.history) == (good.spec, good.data, good.history)
    assert refused > 0.7 * len(range(0, 8 * len(whole), 5))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "was written by format 2; this vaelab reads format 1; upgrade vaelab."),
        ({"format": 2, "files": None}, "upgrade vaelab"),
        ({"format": "1"}, "is not vaelab's"),
        ({"format": True}, "is not vaelab's"),
        ({"format": 0}, "is not vaelab's"),
        ({"vaelab": None}, "is not vaelab's"),
        ({"files": {}}, "does not describe spec.json"),
        ({"files": {"spec.json": {"bytes": True, "sha256": "0"}}}, "does not describe spec.json"),
        ({"files": {"spec.json": {"bytes": 1, "sha256": 5}}}, "does not describe spec.json"),
    ],
)
def test_manifests_of_others(tmp_path, change, words):
    folder = write_run(tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **change}))
    assert words in refusal(load_run, folder)


def test_what_is_not_a_run_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none", tmp_path / "file", tmp_path):
        assert "is not a run folder" in refusal(load_run, path)


def test_metrics_change_and_the_rest_does_not(tmp_path):
    folder = write_run(tmp_path / "run")
    assert update_metrics(folder, {"test": {"neg_elbo": 2.5}}) == {
        "neg_elbo": 2.25,
        "test": {"neg_elbo": 2.5},
    }
    assert [count_test_opening(folder) for _ in range(3)] == [1, 2, 3]
    assert load_run(folder).metrics == {"neg_elbo": 2.25, "test": {"neg_elbo": 2.5}, "test_opened": 3}
    assert "test" in refusal(update_metrics, folder, {"test": float("nan")})
    assert load_run(folder).metrics["test_opened"] == 3
    update_metrics(folder, {"test_opened": "often"})
    assert "must be a count" in refusal(count_test_opening, folder)
    assert "is not a run folder" in refusal(count_test_opening, tmp_path)
    assert "is not a run folder" in refusal(update_metrics, tmp_path / "none", {})


def test_openings_of_the_test_split_are_not_lost_when_they_coincide(tmp_path, monkeypatch):
    folder, read = write_run(tmp_path / "run"), runs.read_object

    def slowly(path):
        value = read(path)
        time.sleep(0.01)
        return value

    monkeypatch.setattr(runs, "read_object", slowly)
    # The lock is one of the system's on a descriptor, so that threads exclude each other as processes do.
    threads = [threading.Thread(target=count_test_opening, args=(folder,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert load_run(folder).metrics["test_opened"] == 8
