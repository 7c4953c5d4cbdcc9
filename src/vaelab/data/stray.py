"""Words in a column of numbers: typing errors, and what may stand for a missing value."""

from __future__ import annotations

from collections.abc import Sequence

from vaelab.data.dataset import Array
from vaelab.data.values import quote
from vaelab.errors import InputError

SOME = 10  # different numbers in a column of numbers, among which a word is no category
FEW_WORDS = 3  # different words among numbers that are no category
FRACTIONS = 3  # more different numbers than this with a decimal point make a column of numbers, too
STRAY = 0.25  # share of such words, if there are more
MARKERS = (
    "-", "--", "---", "–", "—", ".", "*", "n.a.", "N.A.", "n.d.", "n/d", "k.A.", "k. A.", "keine Angabe", "#NA", "s.o.",
)  # fmt: skip


def refuse_stray(texts: Array, name: str, what: str) -> None:
    """Rejects a few words among numbers, which are no category."""
    told = [(row, text) for row, text in enumerate(texts) if text is not None]
    strange = no_numbers(texts)
    if not strange:
        return
    row, text = strange[0]
    if _has_comma(text) and 2 * len(strange) > len(told):
        for other, pointed in told:
            if "." in pointed and reads_as_number(pointed):
                raise InputError(
                    f"the numbers of a column must have one decimal sign, but column {quote(name)} of {what} holds "
                    f"{quote(text)} in row {row} and {quote(pointed)} in row {other}; write them alike."
                )
        raise InputError(
            f"{what} must write numbers with a decimal point, but column {quote(name)} holds {quote(text)} in row "
            f"{row}; replace the decimal commas."
        )
    values, words = {text for _, text in told} - {text for _, text in strange}, {text for _, text in strange}
    is_stray = len(words) <= FEW_WORDS or len(strange) <= STRAY * len(told)
    is_numeric = (
        len(values) > min(SOME, len(told) / 2) or sum("." in text or "," in text for text in values) > FRACTIONS
    )
    if not (is_stray and is_numeric):
        return
    count = f"one of {len(strange)} such cells" if len(strange) > 1 else "the only such cell"
    raise InputError(
        f"{what} must hold numbers in column {quote(name)}, but row {row} holds {quote(text)}, {count} among "
        f"{len(told)}; correct it, give `na` {quote(text)} if it stands for a missing value, or make the column "
        "categorical."
    )


def no_numbers(texts: Array) -> list[tuple[int, str]]:
    """The cells of a column that are no numbers, with their rows. Where most numbers have a decimal comma, such numbers
    are among them only if nothing else is: they did not keep the column from being read.

    >>> no_numbers(["1,5", "2,5", "-"]), no_numbers(["1,5", "2,5"]), no_numbers(["1,5", "2", "2.5"])
    ([(2, '-')], [(0, '1,5'), (1, '2,5')], [(0, '1,5')])
    """
    told = [(row, text) for row, text in enumerate(texts) if text is not None]
    strange = [(row, text) for row, text in told if not reads_as_number(text)]
    others = [(row, text) for row, text in strange if not _has_comma(text)]
    commas, points = len(strange) - len(others), len(told) - len(strange)
    return others if others and commas > points else strange


def _has_comma(text: str) -> bool:
    whole, comma, digits = text.strip().lstrip("+-").partition(",")
    return bool(comma) and (whole.replace(".", "").isdigit() or not whole) and digits.isdigit()


def reads_as_number(text: str) -> bool:
    """Whether text is a plain number: Python also reads "309_1" as one."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def marker_notes(levels: Sequence[str], name: str) -> list[str]:
    """A note for each level of a column of text that may stand for a missing value.

    >>> marker_notes(["f", "m", "-"], "sex")
    ["column 'sex' has a level '-', which may stand for a missing value: add it to `na` if so."]
    """
    return [
        f"column {quote(name)} has a level {quote(marker)}, which may stand for a missing value: add it to `na` if so."
        for marker in levels
        if marker in MARKERS
    ]
