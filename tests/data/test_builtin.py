"""Built-in data sets: counts that are known, and the download against a server of our own."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import http.server
import json
import struct
import threading
import urllib.request

import numpy as np
import pytest
from sklearn.datasets import load_digits

from vaelab.data import builtin, describe, load
from vaelab.errors import InputError


def test_digits_are_scikit_learns(digits):
    truth = load_digits()
    assert digits.shape == (8, 8)
    assert digits.x.dtype == np.float32
    np.testing.assert_array_equal(digits.x * 16, truth.images)
    np.testing.assert_array_equal(digits.labels, truth.target)
    assert digits.classes == tuple("0123456789")
    assert load(**digits.source).fingerprint == digits.fingerprint
    json.dumps(describe(digits), allow_nan=False)


def test_mnist(mnist):
    assert mnist.x.shape == (70_000, 28, 28)
    assert mnist.x.dtype == np.uint8
    assert mnist.splits["test"].tolist() == list(range(60_000, 70_000))
    assert mnist.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(mnist.labels[60_000:]).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    assert mnist.rows("test").mean() / 255 == pytest.approx(0.13251, abs=1e-4)
    found = describe(mnist)
    assert found["likelihood"] == "bernoulli"
    assert found["distinct_values"] == 256


def test_fashion_mnist(fashion_mnist):
    assert np.bincount(fashion_mnist.labels).tolist() == [7000] * 10
    assert fashion_mnist.classes[9] == "Ankle boot"


def test_pinned_hashes_are_well_formed_and_different():
    pinned = [file.sha256 for remote in builtin.REMOTE.values() for file in remote.files]
    assert len(set(pinned)) == 8
    assert all(len(bytes.fromhex(one)) == 32 for one in pinned)
    assert all(url.startswith("https://") and url.endswith("/") for r in builtin.REMOTE.values() for url in r.mirrors)


def tiny_set():
    """Four IDX files of 12 + 6 images of 2 x 2 pixels: contents by name, and their RemoteSet."""
    contents = {}
    for part, n in ("train", 12), ("t10k", 6):
        pixels = bytes((7 * i) % 256 for i in range(4 * n))
        contents[f"{part}-images-idx3-ubyte.gz"] = struct.pack(">4B3I", 0, 0, 8, 3, n, 2, 2) + pixels
        contents[f"{part}-labels-idx1-ubyte.gz"] = struct.pack(">4BI", 0, 0, 8, 1, n) + bytes([0, 1] * (n // 2))
    known = tuple(
        builtin.RemoteFile(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    )
    return contents, builtin.RemoteSet(("https://one.test/", "https://two.test/data/"), known, ("even", "odd"))


@pytest.fixture
def server():
    """A local server; `.answers` maps a path to its bytes, `.asked` lists the paths asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            content = self.server.answers.get(self.path)
            self.send_response(404 if content is None else 200)
            if content is not None and not self.server.hide_length:
                self.send_header("Content-Length", str(self.server.claims or len(content)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the client leaves early where the answer is bad
                self.wfile.write(content or b"")

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.answers, httpd.asked, httpd.hide_length, httpd.claims = {}, [], False, None
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


@pytest.fixture
def remote(server, monkeypatch):
    """The tiny set in place of MNIST; its HTTPS mirrors lead to the local server."""
    contents, tiny = tiny_set()

    def open_local(url):
        assert url.startswith("https://")
        port = server.server_address[1]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(url.replace("https://", f"http://127.0.0.1:{port}/"), timeout=5)

    monkeypatch.setattr(builtin, "REMOTE", {"mnist": tiny})
    monkeypatch.setattr(builtin, "open_https", open_local)
    for name, content in contents.items():
        server.answers[f"/two.test/data/{name}"] = gzip.compress(content)
    return tiny


def refused(folder, **kwargs):
    with pytest.raises(InputError) as error:
        load("mnist", data_dir=folder, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_nothing_is_fetched_unless_asked(remote, server, tmp_path):
    text = refused(tmp_path)
    assert "--download" in text
    assert "VAELAB_DATA" in text
    assert "data_dir" in text
    assert server.asked == []


def test_download_tries_the_mirrors_in_order_and_once(remote, server, tmp_path):
    seen = []
    data = load("mnist", data_dir=tmp_path, download=True, progress=lambda done, total: seen.append((done, total)))
    assert server.asked[:2] == [f"/one.test/{remote.files[0].name}", f"/two.test/data/{remote.files[0].name}"]
    assert data.x.shape == (18, 2, 2)
    assert data.x.reshape(-1)[:5].tolist() == [0, 7, 14, 21, 28]
    assert data.splits["test"].tolist() == list(range(12, 18))
    assert data.classes == ("even", "odd")
    assert [done == total > 0 for done, total in seen] == [True] * 4
    assert sorted(path.name for path in (tmp_path / "mnist").iterdir()) == sorted(f.name for f in remote.files)
    asked = len(server.asked)
    assert load(**data.source).fingerprint == data.fingerprint
    assert len(server.asked) == asked


def test_the_default_folder(remote, monkeypatch, tmp_path):
    monkeypatch.delenv("VAELAB_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert builtin.data_folder() == tmp_path / "cache" / "vaelab"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert builtin.data_folder() == tmp_path / ".cache" / "vaelab"
    monkeypatch.setenv("VAELAB_DATA", str(tmp_path / "named"))
    assert builtin.data_folder() == tmp_path / "named"
    load("mnist", download=True)
    assert (tmp_path / "named" / "mnist").is_dir()


BAD_ANSWERS = {
    "other content": (lambda c: gzip.compress(c[:-1] + b"\xff"), {}, "SHA-256"),
    "page": (lambda c: b"<html>log in</html>", {}, "whole gzip file"),
    "cut": (lambda c: gzip.compress(c)[:-9], {}, "whole gzip file"),
    "bomb": (lambda c: gzip.compress(c + b"\0" * 10_000_000), {"hide_length": True}, "at most"),
    "endless": (lambda c: b"x" * 3_000_000, {"hide_length": True}, "the server sends more"),
    "announced": (lambda c: b"x" * 10, {"claims": 10**12}, "the server announces 1000000000000"),
    "missing": (lambda c: None, {}, "404"),
}


@pytest.mark.parametrize(("spoil", "settings", "expected"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_bad_answers_leave_nothing_behind(remote, server, tmp_path, spoil, settings, expected):
    contents, _ = tiny_set()
    name = remote.files[0].name
    server.answers[f"/two.test/data/{name}"] = spoil(contents[name])
    for key, value in settings.items():
        setattr(server, key, value)
    text = refused(tmp_path, download=True)
    assert expected in text
    assert "two.test" in text
    assert list((tmp_path / "mnist").iterdir()) == []


def test_a_bomb_below_the_cap_is_not_unpacked_beyond_it(remote, server, tmp_path):
    contents, _ = tiny_set()
    name = remote.files[0].name
    server.answers[f"/two.test/data/{name}"] = gzip.compress(contents[name] + b"\0" * 3_000_000)
    assert "SHA-256" in refused(tmp_path, download=True)


def test_a_server_that_is_not_there(remote, tmp_path, monkeypatch):
    def nobody(url):
        raise ConnectionRefusedError("connection refused")

    monkeypatch.setattr(builtin, "open_https", nobody)
    assert "one.test: connection refused; two.test: connection refused" in refused(tmp_path, download=True)


def test_content_is_verified_at_every_load(remote, tmp_path):
    load("mnist", data_dir=tmp_path, download=True)
    path = tmp_path / "mnist" / remote.files[0].name
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))
    text = refused(tmp_path)
    assert "must have the SHA-256" in text
    assert "delete it" in text


def test_only_https_is_fetched(remote, server, tmp_path, monkeypatch):
    plain = dataclasses.replace(remote, mirrors=("http://one.test/",))
    monkeypatch.setattr(builtin, "REMOTE", {"mnist": plain})
    assert "HTTPS only, but a mirror is 'http://one.test/'" in refused(tmp_path, download=True)
    assert server.asked == []


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_the_opener_takes_https_only(url):
    with pytest.raises(InputError, match="HTTPS only"):
        builtin.open_https(url)


def test_a_redirection_away_from_https_is_refused(monkeypatch):
    handlers = []
    build = urllib.request.build_opener

    def spy(*given):
        handlers.extend(given)
        return build()

    monkeypatch.setattr(urllib.request, "build_opener", spy)
    monkeypatch.setattr(urllib.request.OpenerDirector, "open", lambda *args, **kwargs: None)
    builtin.open_https("https://one.test/x")
    redirect = handlers[0]().redirect_request
    request = urllib.request.Request("https://one.test/x")
    assert redirect(request, None, 302, "Found", {}, "https://two.test/x").full_url == "https://two.test/x"
    with pytest.raises(OSError, match="without HTTPS"):
        redirect(request, None, 302, "Found", {}, "http://two.test/x")


def test_a_folder_that_cannot_be_written(remote, tmp_path):
    (tmp_path / "mnist").write_text("a file where the folder should be")
    assert "data folder must be writable" in refused(tmp_path, download=True)


def test_labels_of_a_builtin_cannot_be_replaced(remote, tmp_path):
    assert "has its own labels" in refused(tmp_path, target="y")
