"""Run and study folders under faults: damage, full disks, other processes, other people's folders."""

import errno
import hashlib
import json
import os
import random
import re
import signal
import stat
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from vaelab import store
from vaelab.errors import InputError, StoreError
from vaelab.store import (
    StudyLock,
    check_arrays,
    count_test_opening,
    load_arrays,
    load_run,
    new_folder,
    read_json,
    runs,
    save_arrays,
    save_run,
    update_metrics,
    write_atomic,
    write_json,
)

RUN_FILES = {"spec.json", "data.json", "model.safetensors", "history.jsonl", "metrics.json", "manifest.json"}


def refusal(call, *arguments, **named):
    """The message of a StoreError, which must be one readable line."""
    with pytest.raises(StoreError) as caught:
        call(*arguments, **named)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


def weights():
    rng = np.random.default_rng(0)
    return {
        "encoder.0": rng.normal(size=(7, 5)).astype(np.float32),
        "scale": np.array(0.5),
        "kept": np.array([True, False, True]),
        "index": np.arange(4),
    }


def write_run(folder, **changes):
    content = {
        "spec": {"latent_dim": 2, "hidden": (8, 4), "lr": 1e-3},
        "data": {"name": "digits", "classes": ["null", "größer", "<img onerror=x>\n"]},
        "arrays": weights(),
        "history": [{"epoch": 0, "loss": 3.5}, {"epoch": 1, "loss": 2.5}],
        "metrics": {"neg_elbo": 2.25},
    }
    return save_run(folder, **{**content, **changes})


def run_python(code, *arguments, **named):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        **named,
    )


def snapshot(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# One file


def test_write_atomic_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "note"
    assert write_atomic(path, "grün") == path
    assert path.read_bytes() == "grün".encode()
    write_atomic(str(path), b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert os.listdir(tmp_path) == ["note"]


def test_write_atomic_never_shows_a_part(tmp_path):
    path = tmp_path / "note"
    versions = {bytes([k]) * 200_000 for k in range(20)}
    write_atomic(path, bytes([0]) * 200_000)
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for k in range(20):
        write_atomic(path, bytes([k]) * 200_000)
    stop.set()
    reader.join()
    assert seen <= versions


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_umask_is_honoured(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_atomic(tmp_path / "file", "x")
        save_arrays(tmp_path / "arrays", {"w": np.zeros(2)})
        folder = write_run(tmp_path / "run")
    finally:
        os.umask(before)
    for file in (tmp_path / "file", tmp_path / "arrays", *folder.iterdir()):
        assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~mask


def test_a_full_disk_leaves_the_previous_file(tmp_path):
    path = tmp_path / "metrics.json"
    write_json(path, {"neg_elbo": 1.0})
    before = path.read_bytes()
    code = """
import resource, sys
from vaelab.errors import StoreError
from vaelab.store import write_json, save_arrays, save_run
import numpy as np
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
path, run = sys.argv[1:]
writes = [
    lambda: write_json(path, list(range(10_000))),
    lambda: save_arrays(path, {"w": np.zeros(10_000)}),
    lambda: save_run(run, spec={}, data={}, arrays={"w": np.zeros(10_000)}, history=[], metrics={}),
]
for write in writes:
    try:
        write()
    except StoreError as error:
        print(error)
"""
    done = run_python(code, path, tmp_path / "run")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr, len(lines)) == (0, "", 3)
    for line, name in zip(lines, ("metrics.json", "metrics.json", "run"), strict=True):
        assert re.fullmatch(rf"cannot write .*{name}: file too large; free some space.*", line)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["metrics.json"]


def test_no_space_left_is_said_so(tmp_path, monkeypatch):
    write_atomic(tmp_path / "file", "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    message = refusal(write_atomic, tmp_path / "file", "new")
    assert "no space left on device; free some space and repeat." in message
    assert snapshot(tmp_path) == {(tmp_path / "file").relative_to(tmp_path): b"old"}


def test_an_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch):
    write_atomic(tmp_path / "file", "old")

    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", "new")
    with pytest.raises(KeyboardInterrupt):
        write_run(tmp_path / "run")
    assert os.listdir(tmp_path) == ["file"]


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    long = "x" * 65_000
    for path in (
        tmp_path / "file" / "inside",
        tmp_path / "no" / "folder",
        tmp_path,
        tmp_path / long,
        "/proc/vaelab",
    ):
        assert "cannot write" in refusal(write_atomic, path, "x")
    for path in (tmp_path / "file" / "run", "/proc/vaelab/run", tmp_path / long, tmp_path / "a\0b"):
        assert "cannot" in refusal(new_folder, path)
        assert "cannot" in refusal(write_run, path)
    assert os.listdir(tmp_path) == ["file"]
    (tmp_path / "File").write_text("")
    assert f"{tmp_path}/File is not a folder" in refusal(new_folder, tmp_path / "File" / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write read-only folders")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o555)
    for call in (lambda: write_atomic(tmp_path / "f", "x"), lambda: new_folder(tmp_path / "a" / "b")):
        assert "choose a folder that you may write" in refusal(call)
    tmp_path.chmod(0o755)
    assert os.listdir(tmp_path) == []


# JSON

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(value=json_values)
def test_json_round_trip(value, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "round.json"
    write_json(path, value)
    assert read_json(path) == value


def test_json_keeps_order_and_takes_numpy(tmp_path):
    value = {"b": np.float32(0.5), "a": np.int64(3), "c": np.arange(3), "d": np.bool_(True), "e": None}
    write_json(tmp_path / "x.json", value)
    read = read_json(tmp_path / "x.json")
    assert list(read.items()) == [("b", 0.5), ("a", 3), ("c", [0, 1, 2]), ("d", True), ("e", None)]
    with pytest.raises(TypeError, match="set"):
        write_json(tmp_path / "x.json", {1, 2})


@pytest.mark.parametrize(
    "bad", [np.nan, np.inf, -np.inf, np.float32("nan"), np.array([1.0, np.nan]), np.float64("inf")]
)
def test_json_refuses_what_is_not_finite_and_says_where(tmp_path, bad):
    write_json(tmp_path / "x.json", 1)
    message = refusal(write_json, tmp_path / "x.json", {"ok": 1.0, "rows": [{"loss": 1.0}, {"loss": bad}]})
    assert "rows[1].loss" in message
    assert read_json(tmp_path / "x.json") == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{"a": [1, 2', "is truncated"),
        (b'{"a": "unfinished', "is truncated"),
        (b'{"a": ', "is truncated"),
        (b"<html><body>404</body></html>", "is not JSON"),
        (b"{'a': 1}", "is not JSON"),
        (b'{"a": 1}{"b": 2}', "is not JSON"),
        (b'{"a": NaN}', "NaN is not a number in JSON"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b"9" * 10_000, "too long"),
        (b"\xff\xfe{\x00}\x00", "UTF-8"),
        (b"[" * 200_000, "nested"),
    ],
)
def test_json_faults_are_named(tmp_path, content, words):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    message = refusal(read_json, path)
    assert words in message
    assert "x.json" in message


def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert "is missing" in refusal(read_json, tmp_path / "none.json")
    for path in (tmp_path, tmp_path / "fifo", "/dev/zero"):
        assert "is not a file" in refusal(read_json, path)
        assert "is not a file" in refusal(load_arrays, path, "0" * 64)


# Arrays


def test_arrays_round_trip(tmp_path):
    arrays = weights()
    digest = save_arrays(tmp_path / "w", arrays)
    assert digest == hashlib.sha256((tmp_path / "w").read_bytes()).hexdigest()
    expected = {key: (array.shape, array.dtype.name) for key, array in arrays.items()}
    loaded = load_arrays(tmp_path / "w", digest, expected)
    assert loaded.keys() == arrays.keys()
    for key, array in arrays.items():
        assert loaded[key].dtype == array.dtype
        assert loaded[key].shape == array.shape
        assert loaded[key].tobytes() == array.tobytes()
        assert loaded[key].flags.writeable
        assert loaded[key].flags.owndata


def test_any_memory_layout_is_written_as_it_reads(tmp_path):
    plain = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    read_only = plain.copy()
    read_only.flags.writeable = False
    arrays = {
        "fortran": np.asfortranarray(plain),
        "transposed": plain.T,
        "strided": plain[:, ::2, ::-1],
        "big-endian": plain.astype(">f4"),
        "read-only": read_only,
        "empty": np.zeros((0, 3)),
        "half": plain.astype(np.float16),
    }
    loaded = load_arrays(tmp_path / "w", save_arrays(tmp_path / "w", arrays))
    for key, array in arrays.items():
        np.testing.assert_array_equal(loaded[key], array, err_msg=key)
        assert loaded[key].dtype.isnative
    assert arrays["big-endian"].dtype.byteorder == ">"
    np.testing.assert_array_equal(arrays["big-endian"], plain)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([1.0, np.nan, np.inf]), "array 'w' has 2 values that are NaN or infinite"),
        (np.array([1j]), "must hold real numbers, but holds complex128"),
        (np.array(["text"]), "must hold real numbers"),
        (np.array([{}]), "must hold real numbers, but holds object"),
        (np.array(["2020"], dtype="M8[Y]"), "must hold real numbers"),
    ],
)
def test_arrays_that_are_not_saved(tmp_path, array, words):
    assert words in refusal(save_arrays, tmp_path / "w", {"w": array})
    assert os.listdir(tmp_path) == []


def test_loaded_arrays_must_be_the_expected_ones(tmp_path):
    digest = save_arrays(tmp_path / "w", {"a": np.zeros((2, 3), np.float32), "b": np.zeros(2)})
    good = {"a": ((2, 3), "float32"), "b": ((2,), "float64")}
    assert set(load_arrays(tmp_path / "w", digest, good)) == {"a", "b"}
    for change, words in (
        ({"a": ((3, 2), "float32")}, "'a' must have shape (3, 2), but got (2, 3)"),
        ({"b": ((2,), "float32")}, "'b' must be float32, but got float64"),
        ({"c": ((1,), "float32")}, "'c' is missing"),
    ):
        assert words in refusal(load_arrays, tmp_path / "w", digest, {**good, **change})
    del good["b"]
    assert "'b' is not one of this architecture's" in refusal(load_arrays, tmp_path / "w", digest, good)
    assert "model: array 'a'" in refusal(check_arrays, {}, {"a": ((1,), "int64")}, "model")


def header(**arrays):
    text = json.dumps(arrays).encode()
    return struct.pack("<Q", len(text)) + text


HOSTILE = {
    "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "huge header": struct.pack("<Q", 2**62) + b"{}",
    "huge shape": header(w={"dtype": "F32", "shape": [10**15], "data_offsets": [0, 4 * 10**15]}),
    "offsets outside": header(w={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}),
    "negative shape": header(w={"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}) + b"\0" * 4,
    "unknown dtype": header(w={"dtype": "PYOBJ", "shape": [1], "data_offsets": [0, 4]}) + b"\0" * 4,
    "bfloat16": header(w={"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}) + b"\0" * 4,
    "not an object": struct.pack("<Q", 2) + b"[]",
    "NaN": safetensors.numpy.save({"w": np.array([1.0, np.nan])}),
    "infinite half": safetensors.numpy.save({"w": np.array([np.inf], np.float16)}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_with_the_right_digest(tmp_path, name):
    (tmp_path / "w").write_bytes(HOSTILE[name])
    digest = hashlib.sha256(HOSTILE[name]).hexdigest()
    message = refusal(load_arrays, tmp_path / "w", digest)
    assert ("NaN or infinite" if name in ("NaN", "infinite half") else "is not a safetensors file") in message


# Run folders


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


# New folders


def test_new_folder_is_made_or_taken_if_empty(tmp_path):
    folder = tmp_path / "a" / "b"
    assert new_folder(folder) == folder
    assert folder.is_dir()
    assert new_folder(str(folder)) == folder


def test_what_is_there_is_not_touched(tmp_path):
    run = write_run(tmp_path / "run")
    before = snapshot(run)
    message = refusal(new_folder, run)
    assert "exists; choose another --out, or --overwrite to replace it, or --resume to continue." in message
    assert snapshot(run) == before
    assert new_folder(run, overwrite=True) == run
    assert list(run.iterdir()) == []
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("names", [("config.toml", "study.db"), ("config.toml", ".lock"), ("study.db", ".lock")])
def test_a_study_is_replaced(tmp_path, names):
    folder = tmp_path / "study"
    (folder / "trials" / "0001").mkdir(parents=True)
    for name in names:
        (folder / name).write_text("")
    new_folder(folder, overwrite=True)
    assert os.listdir(tmp_path) == ["study"]
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    "files",
    [
        {"thesis.tex": "five years of work"},
        {"manifest.json": '{"manifest_version": 3, "name": "a web extension"}', "app.js": ""},
        {"manifest.json": "[1, 2]"},
        {"manifest.json": "damaged"},
        {"config.toml": "theme = 'a web site'", "content.md": ""},
        {"study.db": "somebody's Optuna study"},
        {".lock": ""},
    ],
)
def test_the_folder_of_somebody_else_is_never_replaced(tmp_path, files):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    before = snapshot(folder)
    for call in (new_folder, write_run):
        assert "exists" in refusal(call, folder)
        assert "is not a vaelab run or study" in refusal(call, folder, overwrite=True)
    assert snapshot(folder) == before
    assert os.listdir(tmp_path) == ["theirs"]


def test_a_file_or_dangling_link_is_never_replaced(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        assert "exists" in refusal(new_folder, tmp_path / name)
        assert "is not a vaelab run" in refusal(new_folder, tmp_path / name, overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_link_to_a_run_stays_a_link(tmp_path):
    write_run(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    new_folder(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert os.listdir(tmp_path / "real") == []
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


def test_a_study_in_use_is_not_replaced(tmp_path):
    folder = new_folder(tmp_path / "study")
    with StudyLock(folder):
        (folder / "config.toml").write_text("")
        assert f"in use by process {os.getpid()}" in refusal(new_folder, folder, overwrite=True)
        assert sorted(os.listdir(folder)) == [".lock", "config.toml"]
    new_folder(folder, overwrite=True)
    assert os.listdir(folder) == []


# The lock

HOLD = """
import sys, time
from vaelab.store import StudyLock
with StudyLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_is_refused_while_another_process_has_it_and_freed_by_its_death(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        lock = StudyLock(tmp_path)
        for _ in range(2):
            message = refusal(lock.__enter__)
            assert f"is in use by process {other.pid}; wait for its end" in message
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
        other.stdout.close()
    with lock:
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    with lock, pytest.raises(RuntimeError, match="already held"):
        lock.__enter__()


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    code = """
import os, sys, time
from vaelab.store import StudyLock
with StudyLock(sys.argv[1]):
    child = os.fork()
    if not child:
        os.close(1), os.close(2)
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    os.kill(os.getpid(), 9)
"""
    done = run_python(code, tmp_path)
    assert done.returncode == -signal.SIGKILL
    child = int(done.stdout)
    try:
        os.kill(child, 0)  # it lives, and yet:
        with StudyLock(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_forked_child_that_leaves_the_block_does_not_free_the_parents_lock(tmp_path):
    code = """
import os, sys
from vaelab.errors import StoreError
from vaelab.store import StudyLock
lock = StudyLock(sys.argv[1])
lock.__enter__()
child = os.fork()
if not child:
    lock.__exit__(None, None, None)
    try:
        StudyLock(sys.argv[1]).__enter__()
    except StoreError:
        os._exit(7)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run_python(code, tmp_path).stdout == "7\n"


def test_a_lock_needs_a_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "none", tmp_path / "file"):
        assert "cannot lock" in refusal(StudyLock(folder).__enter__)
    (tmp_path / "victim").write_text("keep")
    (tmp_path / ".lock").symlink_to(tmp_path / "victim")
    assert "cannot lock" in refusal(StudyLock(tmp_path).__enter__)
    assert (tmp_path / "victim").read_text() == "keep"


def test_store_errors_are_input_errors_and_names_stay_on_one_line(tmp_path):
    assert issubclass(StoreError, InputError)
    assert "\\n" in refusal(read_json, tmp_path / "a\nb.json")
