# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Plain text: tables for the terminal, and the one form of each kind of number."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


# Named, so that a number has one form wherever it is shown.
share = "{:.1%}".format
whole_share = "{:.0%}".format
change = "{:+.1%}".format
score = "{:.4f}".format
full_count = "{:,}".format

_COUNT_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))
_BYTE_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def one_line(text: str) -> str:
    """Text of others, such as the name of a file, in one line that changes nothing beside it.

    Line breaks and tabs become spaces. What a terminal obeys, what turns the direction of writing, and halves of
    characters, which no file can hold, become a replacement character.

    Args:
        text: The text.
    """
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_unsafe(each) else each for each in " ".join(text.split()))


def _is_unsafe(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def table(rows: Sequence[Sequence[str]], header: Sequence[str] | None = None) -> str:
    """A table whose columns line up: the first to the left, the others to the right.

    Args:
        rows: Cells of each row, all of one length; at least one row.
        header: Cells of the header, as many.
    """
    lines = [[_in_place(cell) for cell in line] for line in ([header, *rows] if header else rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells))
        for cells in (list(zip(line, widths)) for line in lines)
    ]
    if header:
        text.insert(1, "-" * len(text[0]))
    return "\n".join(line.rstrip() for line in text)


def interval(bounds: Sequence[float] | None) -> str:
    """An interval of a difference, such as `+0.0021 to +0.0143 (95%)`; where one sequence gives none, it says so."""
    if bounds is None:
        return "no interval from one sequence"
    low, high = bounds
    return f"{low:+.4f} to {high:+.4f} (95%)"


def unsure(bounds: Sequence[float] | None) -> str:
    """A sentence, after another one, where there is no interval of a difference."""
    return "" if bounds else " There is no interval that tells how sure this is."


def spread(counts: Sequence[int]) -> str:
    """The smallest, the mean and the largest, such as `4 / 6.0 / 8`."""
    return f"{min(counts)} / {sum(counts) / len(counts):.1f} / {max(counts)}" if counts else ""


def short_count(number: int) -> str:
    """A number in short, such as `6.92B`."""
    return _short(number, _COUNT_UNITS, "")


def short_bytes(number: int) -> str:
    """A size in short, such as `13.84 GB`, in powers of ten like on the Hub."""
    return _short(number, _BYTE_UNITS, " ")


def duration(seconds: float) -> str:
    """A time in short, such as `40 s`, `12 min` or `3.5 h`."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.2g} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _in_place(cell: str) -> str:
    """A cell as it is, blanks too, where nothing in it is unsafe."""
    return one_line(cell) if any(map(_is_unsafe, cell)) else cell


def _short(number: int, units: Sequence[tuple[float, str]], space: str) -> str:
    for size, unit in units:
        if number >= size:
            return f"{number / size:.2f}{space}{unit}"
    return f"{number}{' B' if space else ''}"
