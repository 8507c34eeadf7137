# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Rows of a JSON file, exactly as they are: Arrow would give each row the keys of all others."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import PurePath
from typing import IO, Any

from .options import DataError


OPENERS: dict[str, Callable[..., IO[Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_KINDS = (".json", ".jsonl")
_SPACE = re.compile(r"\s*")


def is_json_file(path: str) -> bool:
    """Whether this module reads a file: JSON, in a compression that Python knows or in none.

    Args:
        path: The file.
    """
    *_, kind, compression = "", "", *PurePath(path).suffixes
    return compression in _KINDS or (kind in _KINDS and compression in OPENERS)


def read_json_file(path: str) -> Iterator[dict[str, Any]]:
    """Yield each row as `{"row": row, "number": number}`, counted as the lines are.

    Args:
        path: A file with a JSON value a line, or with a list of all rows.

    Raises:
        DataError: The file is broken; names the line.
    """
    name = PurePath(path).name
    opened = OPENERS.get(PurePath(path).suffix, open)
    try:
        with opened(path, "rt", encoding="utf-8-sig") as file:
            first = file.readline()
            rest = file.readline()
            # A list of all rows, or a row over several lines; a line may also be a list, a conversation.
            whole = first.lstrip().startswith("[") and not (rest.strip() and _is_value(first))
            if whole or first.strip() in ("", "{"):
                rows = _values(first + rest + file.read(), name)
            else:
                rows = _lines(chain([first, rest], file), name)
            for number, row in rows:
                yield {"row": row, "number": number}
    except (UnicodeDecodeError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # it names the file; a damaged stream has no number
        raise DataError(f"{name} cannot be read: {error}") from error


def _lines(lines: Iterable[str], name: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{name} cannot be read: line {number} is no JSON: {error}") from error


def _values(text: str, name: str) -> Iterator[tuple[int, Any]]:
    """The rows of a list, or those that stand one after another."""
    decoder, number = json.JSONDecoder(), 0
    place = _skip_space(text, 0)
    while place < len(text):
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name} cannot be read: it is no JSON: {error}") from error
        place = _skip_space(text, place)
        for row in value if isinstance(value, list) else [value]:
            number += 1
            yield number, row


def _skip_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _is_value(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
