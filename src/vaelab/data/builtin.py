"""The built-in data sets: scikit-learn's digits, and MNIST and Fashion-MNIST, downloaded only on request."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import os
import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from vaelab.data.dataset import Array
from vaelab.data.idx import parse_idx
from vaelab.data.limits import READ_BYTES, check_file, name_of
from vaelab.data.raw import Raw
from vaelab.errors import InputError

Progress = Callable[[int, int], None]  # bytes done and total bytes (0: unknown) of the file being downloaded
OpenUrl = Callable[[str], Any]  # a URL to a readable response with `.headers`, a context manager
TIMEOUT_SECONDS = 30


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """One gzipped file: its size and SHA-256 once unpacked, which are the same on every mirror."""

    name: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class RemoteSet:
    """A data set of four IDX files: training images and labels, test images and labels."""

    mirrors: tuple[str, ...]
    files: tuple[RemoteFile, RemoteFile, RemoteFile, RemoteFile]
    classes: tuple[str, ...]


def _idx_files(*sha256: str) -> tuple[RemoteFile, RemoteFile, RemoteFile, RemoteFile]:
    images_train, labels_train, images_test, labels_test = sha256
    return (
        RemoteFile("train-images-idx3-ubyte.gz", 47040016, images_train),
        RemoteFile("train-labels-idx1-ubyte.gz", 60008, labels_train),
        RemoteFile("t10k-images-idx3-ubyte.gz", 7840016, images_test),
        RemoteFile("t10k-labels-idx1-ubyte.gz", 10008, labels_test),
    )


REMOTE: Mapping[str, RemoteSet] = {
    "mnist": RemoteSet(
        (
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
        _idx_files(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        tuple("0123456789"),
    ),
    "fashion_mnist": RemoteSet(
        ("https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",),
        _idx_files(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
}
NAMES = ("digits", *REMOTE)


def read_builtin(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
    progress: Progress | None = None,
) -> Raw:
    """A built-in data set; a missing file is downloaded with `download`, else the error says how to get it."""
    if name == "digits":
        return _digits()
    remote = REMOTE[name]
    folder = data_folder(data_dir) / name
    for file in remote.files:
        if (folder / file.name).exists():
            continue
        if not download:
            raise InputError(
                f"{name} needs {file.name}, but it is not in {str(folder)!r}; fetch it with "
                f"`vaelab data {name} --download`, or set VAELAB_DATA or data_dir to the folder that contains {name}/."
            )
        fetch(file, remote.mirrors, folder, progress=progress)
    x, y, x_test, y_test = (_read_checked(folder / file.name, file) for file in remote.files)
    return Raw(name, x, y, x_test, y_test, classes=remote.classes)


def data_folder(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The download folder: the one given, else VAELAB_DATA, else vaelab's folder in the user's cache."""
    if data_dir is not None:
        return Path(data_dir).expanduser().absolute()
    if named := os.environ.get("VAELAB_DATA"):
        return Path(named).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "vaelab"


def _digits() -> Raw:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = (bunch.images / 16).astype(np.float32)
    return Raw("digits", x, bunch.target, classes=tuple(str(name) for name in bunch.target_names))


def _read_checked(path: Path, file: RemoteFile) -> Array:
    """The array of one IDX file, verified to be identical to the published one."""
    check_file(path)
    with open(path, "rb") as packed:
        content = _unpack(packed, file, name_of(path))
    return parse_idx(io.BytesIO(content), name_of(path))


def _unpack(packed: IO[bytes], file: RemoteFile, name: str) -> bytes:
    """The unpacked content with its hash checked; reads at most one byte more than the published size."""
    try:
        with gzip.GzipFile(fileobj=packed, mode="rb") as unpacked:
            content = unpacked.read(file.size + 1)
    except (EOFError, zlib.error, OSError) as error:
        raise InputError(f"{name} must be a whole gzip file, but: {error}; delete it and fetch it again.") from None
    found = hashlib.sha256(content).hexdigest()
    if len(content) != file.size or found != file.sha256:
        raise InputError(
            f"{name} must have the SHA-256 {file.sha256[:12]}..., but has {found[:12]}...; delete it and "
            "fetch it again."
        )
    return content


def fetch(
    file: RemoteFile,
    mirrors: tuple[str, ...],
    folder: Path,
    *,
    progress: Progress | None = None,
    open_url: OpenUrl | None = None,
) -> Path:
    """Downloads one file from the first mirror that has it; it gets its name only once verified."""
    for mirror in mirrors:
        if not mirror.startswith("https://"):
            raise InputError(f"data are fetched over HTTPS only, but a mirror is {mirror!r}; use https://.")
    faults = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for mirror in mirrors:
            try:
                return _fetch_from(mirror, file, folder, progress, open_url or open_https)
            except InputError as error:
                faults.append(f"{mirror.split('/')[2]}: {str(error).rstrip('.')}")
    except OSError as error:
        raise InputError(
            f"the data folder must be writable, but {str(folder)!r} is not ({error.strerror or error}); "
            "choose another data_dir."
        ) from None
    raise InputError(
        f"{file.name} could not be fetched ({'; '.join(faults)}); try again, or give a folder that contains "
        "it as data_dir."
    )


def _fetch_from(mirror: str, file: RemoteFile, folder: Path, progress: Progress | None, open_url: OpenUrl) -> Path:
    with _temporary(folder, file.name) as out:
        for piece in _pieces(mirror + file.name, file, progress, open_url):
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
        out.seek(0)
        _unpack(out, file, name_of(Path(file.name)))
        os.replace(out.name, folder / file.name)
    return folder / file.name


@contextlib.contextmanager
def _temporary(folder: Path, name: str) -> Iterator[IO[bytes]]:
    """A new file in the folder, deleted afterwards unless renamed; parallel downloads never share one."""
    path = folder / f".{name}.{secrets.token_hex(8)}.part"
    try:
        with open(path, "x+b") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def _pieces(url: str, file: RemoteFile, progress: Progress | None, open_url: OpenUrl) -> Iterator[bytes]:
    """The bytes at the URL, capped; network errors become InputError, disk errors do not."""
    import http.client

    # Gzip never grows a file by more than this; anything longer is not the file.
    most = file.size + file.size // 1000 + 4096
    try:
        with open_url(url) as response:
            length = response.headers.get("Content-Length") or ""
            total = int(length) if length.isdigit() else 0
            done = 0
            if total > most:
                raise InputError(f"at most {most} bytes are accepted, but the server announces {total}")
            while piece := response.read(READ_BYTES):
                done += len(piece)
                if done > most:
                    raise InputError(f"at most {most} bytes are accepted, but the server sends more")
                yield piece
                if progress is not None:
                    progress(done, total)
    except (OSError, http.client.HTTPException) as error:
        raise InputError(" ".join(str(error).split())[:120] or type(error).__name__) from None


def open_https(url: str) -> Any:
    """The response to an HTTPS request; redirects to anything else are rejected."""
    import urllib.error
    import urllib.request

    class HttpsOnly(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            if not newurl.startswith("https://"):
                raise urllib.error.URLError("the server redirects to an address without HTTPS")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    if not url.startswith("https://"):
        raise InputError(f"data are fetched over HTTPS only, but the address is {url!r}; use https://.")
    request = urllib.request.Request(url, headers={"User-Agent": "vaelab"})
    return urllib.request.build_opener(HttpsOnly).open(request, timeout=TIMEOUT_SECONDS)


__all__ = ["NAMES", "REMOTE", "RemoteFile", "RemoteSet", "data_folder", "fetch", "open_https", "read_builtin"]
