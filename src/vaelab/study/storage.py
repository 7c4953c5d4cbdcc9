"""The address of a PostgreSQL database into which a study is mirrored. Its password is never shown."""

from __future__ import annotations

import dataclasses
import importlib.util
import urllib.parse

from vaelab.errors import InputError, shown

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")


@dataclasses.dataclass(frozen=True)
class Storage:
    """Where a study is mirrored: a URL, and the study's name there; None is the name of its folder.

    >>> Storage("postgresql://ann:secret@db.example.com/studies")
    Storage(postgresql://ann:***@db.example.com/studies)
    """

    url: str
    study_name: str | None = None

    def __post_init__(self) -> None:
        if self.study_name is not None and not isinstance(self.study_name, str):
            raise InputError(f"`study_name` must be text, but got {shown(self.study_name)}.")
        if not isinstance(self.url, str):
            raise InputError(f"`storage` must be a URL as text, but got {shown(self.url)}.")
        scheme, sign, _ = self.url.partition("://")
        if not sign or scheme not in SCHEMES:  # what follows may hold a password
            raise InputError(
                f"`storage` must be postgresql://USER@HOST:PORT/DATABASE, but got {shown(scheme + sign)}; a study's "
                "own database is study.db in its folder."
            )
        try:
            _ = self._parts.port
        except ValueError:
            raise InputError(f"`storage` must have a port between 0 and 65535, but got that of {self}.") from None
        if importlib.util.find_spec("psycopg") is None:
            raise InputError("`storage` needs the package psycopg; pip install 'vaelab[postgresql]'.")

    @property
    def _parts(self) -> urllib.parse.SplitResult:
        return urllib.parse.urlsplit(self.url)

    @property
    def full(self) -> str:
        """With the password, for the driver."""
        return "postgresql+psycopg://" + self.url.partition("://")[2]

    def __str__(self) -> str:
        parts = self._parts
        user, host = f"{parts.username}:***@" if parts.password else parts.netloc.rpartition("@")[0], parts.hostname
        if parts.username and not parts.password:
            user += "@"
        port = f":{parts.netloc.rpartition(':')[2]}" if parts.netloc.rpartition("@")[2].count(":") else ""
        return f"postgresql://{user}{host or ''}{port}{parts.path}"

    def __repr__(self) -> str:
        return f"Storage({self})"

    def hide(self, text: str) -> str:
        """A message of the driver without the password, however it is written."""
        text = text.replace(self.url, str(self))
        query = dict(urllib.parse.parse_qsl(self._parts.query))
        for given in (self._parts.password, query.get("password")):
            plain = urllib.parse.unquote(given or "")
            for form in (given, plain, urllib.parse.quote(plain, safe="")):
                text = text.replace(form, "***") if form else text
        return text
