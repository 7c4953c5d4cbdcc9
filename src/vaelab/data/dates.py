"""Dates as days since 1970-01-01: from values, from text as programs write it, and back."""

from __future__ import annotations

import datetime

import numpy as np
import numpy.typing as npt

from vaelab.data.dataset import Array

Floats = npt.NDArray[np.float64]

EPOCH = np.datetime64("1970-01-01", "D")
DAY = datetime.timedelta(days=1)
SECOND = datetime.timedelta(seconds=1)
# Month first before day first: where both fit, the reader of the notes decides.
FORMATS = ("%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%m-%Y", "%d-%b-%Y", "%d %b %Y", "%b %d, %Y")
STAMP = "%Y-%m-%d %H:%M:%S"
TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
ALL = [form + time for form in FORMATS for time in TIMES]


def is_date(values: Array) -> bool:
    """Whether a column as read holds dates or times."""
    if values.dtype.kind == "M":
        return True
    return values.dtype.kind == "O" and any(isinstance(value, datetime.date) for value in values)


def days(values: Array) -> Floats:
    """Dates or times (n,) as days since 1970-01-01, NaN where missing."""
    if values.dtype.kind == "O":
        values = np.array([_stamp(value) for value in values], dtype="datetime64[us]")
    times = values.astype("datetime64[us]")
    found: Floats = (times - EPOCH.astype("datetime64[us]")) / np.timedelta64(1, "D")
    return found


def _stamp(value: object) -> np.datetime64:
    """A date or time, in UTC if it has a zone."""
    if not isinstance(value, datetime.date) or str(value) == "NaT":
        return np.datetime64("NaT")
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.UTC).replace(tzinfo=None)
        return np.datetime64(value.replace(tzinfo=None), "us")
    return np.datetime64(value, "us")


def as_text(values: Array) -> Array:
    """Dates or times (n,) as text; None where missing."""
    missing = np.isnan(days(values))
    texts = np.datetime_as_string(values) if values.dtype.kind == "M" else np.array([str(value) for value in values])
    return _none_where(missing, texts)


def written(found: Array) -> Array:
    """Days since 1970-01-01 (n,) as dates, to the day; None where missing."""
    missing = np.isnan(found)
    stamps = EPOCH + np.round(np.nan_to_num(found)).astype("timedelta64[D]")
    return _none_where(missing, np.datetime_as_string(stamps))


def has_times(found: Array) -> bool:
    """Whether days since 1970-01-01 (n,), NaN where missing, are more than dates."""
    return bool((np.nan_to_num(found) % 1).any())


def times(found: Array) -> Array:
    """Days since 1970-01-01 (n,) as dates, or as times to the second if one is not whole; NaT where missing."""
    missing = np.isnan(found)
    days = np.nan_to_num(found.astype(np.float64))
    if not has_times(days):
        stamps = EPOCH + days.astype("timedelta64[D]")
    else:
        stamps = EPOCH.astype("datetime64[s]") + np.round(days * 86_400).astype("timedelta64[s]")
    stamps[missing] = np.datetime64("NaT")
    return stamps


def has_hours(form: str) -> bool:
    """Whether a format tells the time of day."""
    return "%H" in form or "%I" in form


def formatted(found: Array, form: str) -> Array:
    """Days since 1970-01-01 (n,) as text in this format, to the second if it has hours, else to the day; None where
    missing.

    >>> formatted(np.array([0.0, np.nan]), "%d.%m.%Y").tolist()
    ['01.01.1970', None]
    """
    seconds = found.astype(np.float64) * 86_400
    unit = 1 if has_hours(form) else 86_400
    moments = [None if s != s else datetime.datetime(1970, 1, 1) + unit * round(s / unit) * SECOND for s in seconds]
    out = np.empty(len(found), dtype=object)
    out[:] = [None if moment is None else moment.strftime(form) for moment in moments]
    return out


def _none_where(missing: Array, texts: Array) -> Array:
    out = texts.astype(object)
    out[missing] = None
    return out


def formats_of(texts: Array) -> list[str]:
    """How the dates in a column of text are written: none if they are no dates, two if day and month look the same."""
    different = _different(texts)
    forms = _forms(different[0]) if different else []
    return [form for form in forms if all(_reads(text, form) for text in different)][:2]


def mixture_of(texts: Array) -> list[str]:
    """The ways in which a column of text writes dates; none if some text is no date.

    >>> mixture_of(np.array(["2024-02-01", "3.1.2024", None])), mixture_of(np.array(["2024-02-01", "soon"]))
    (['%Y-%m-%d', '%d.%m.%Y'], [])
    """
    found: list[str] = []
    for text in _different(texts):
        if not any(_reads(text, form) for form in found):
            forms = _forms(text)
            if not forms:
                return []
            found.append(forms[0])
    return found


def _different(texts: Array) -> list[str]:
    return sorted({text for text in texts if text is not None})


def _forms(text: str) -> list[str]:
    """The ways of writing dates that a text fits."""
    return [form for form in ALL if _reads(text, form)] if any(sign.isdigit() for sign in text) else []


def _reads(text: str, form: str) -> bool:
    try:
        datetime.datetime.strptime(text, form)
    except ValueError:
        return False
    return True


def parsed(texts: Array, form: str) -> Floats:
    """Text as days since 1970-01-01, NaN where it is missing or is no such date."""
    known: dict[str, float] = {}
    for text in {text for text in texts if text is not None}:
        try:
            moment = datetime.datetime.strptime(text, form)
        except ValueError:
            known[text] = np.nan
        else:
            known[text] = (moment.replace(tzinfo=None) - datetime.datetime(1970, 1, 1)) / DAY
    return np.array([np.nan if text is None else known[text] for text in texts])
