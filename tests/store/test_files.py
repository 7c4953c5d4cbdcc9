"""Files of the store under faults: damage, full disks, hostile content."""

import errno
import hashlib
import json
import os
import re
import stat
import struct
import threading

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from stored import build, refusal, run_python, snapshot, weights, write_run
from vaelab.store import (
    check_arrays,
    load_arrays,
    read_json,
    read_toml,
    save_arrays,
    write_atomic,
    write_json,
    write_output,
)

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
    assert "no space left on device; free some space and try again." in message
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
        assert "cannot" in refusal(build, path)
        assert "cannot" in refusal(write_run, path)
    assert os.listdir(tmp_path) == ["file"]
    (tmp_path / "File").write_text("")
    assert f"{tmp_path}/File is not a folder" in refusal(build, tmp_path / "File" / "run")


def test_a_read_only_folder(read_only):
    for call in (lambda: write_atomic(read_only / "f", "x"), lambda: build(read_only / "a" / "b")):
        assert "choose a folder that you can write to" in refusal(call)
    assert os.listdir(read_only) == []


def test_the_folder_of_an_output_is_made(tmp_path):
    assert write_output(tmp_path / "new" / "folder" / "x.csv", "1").read_text() == "1"
    assert "cannot write" in refusal(write_output, tmp_path / "new" / "folder" / "x.csv" / "y.csv", "1")


# TOML


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a = [1,", "is not TOML: Invalid value"),
        (b"a = " + b"[" * 20_000, "is nested too deeply"),
        (b"a = " + b"9" * 5_000, "contains a number that is too long"),
        (b'a = "\xff"', "is not UTF-8 text: byte 5"),
        (b"#" * ((1 << 22) + 1), "is larger than 4,194,304 bytes"),
    ],
)
def test_toml_that_cannot_be_read(tmp_path, content, fault):
    (tmp_path / "x.toml").write_bytes(content)
    assert fault in refusal(read_toml, tmp_path / "x.toml", "give one")


def test_toml_with_a_mark_of_order_as_editors_write_it(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbfa = 1\r\n")
    assert read_toml(tmp_path / "x.toml", "give one") == {"a": 1}


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (tmp_path / "pipe.toml", "/dev/zero", tmp_path):
        assert "is not a file" in refusal(read_toml, path, "give one")
    assert "does not exist; give one." in refusal(read_toml, tmp_path / "none.toml", "give one")


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
    assert "'b' is not part of this architecture" in refusal(load_arrays, tmp_path / "w", digest, good)
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
