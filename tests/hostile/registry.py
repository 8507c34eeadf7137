# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The kinds of inputs."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis.strategies import SearchStrategy


class Kind(NamedTuple):
    """One kind of input: makes it, reads it from a folder, and tells whether an error says where it is wrong."""

    inputs: Callable[[], SearchStrategy]
    read: Callable[[Any, Path], None]
    names: Callable[[str], bool]


KINDS: dict[str, Kind] = {}


def kind(name: str, inputs: Callable[[], SearchStrategy], names: str) -> Callable[[Callable], Callable]:
    """Register how a kind is read; `names` is a pattern that each message of an error has to fit."""

    def add(read: Callable[[Any, Path], None]) -> Callable[[Any, Path], None]:
        KINDS[name] = Kind(cache(inputs), read, lambda message: re.search(names, message, re.DOTALL) is not None)
        return read

    return add


def written(content: bytes, folder: Path, name: str) -> Path:
    (folder / name).write_bytes(content)
    return folder
