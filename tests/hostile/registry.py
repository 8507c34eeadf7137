# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The kinds of inputs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """One kind of input: makes it, reads it from a folder, and tells whether an error says where it is wrong."""

    make: Callable[[Random], Any]
    read: Callable[[Any, Path], None]
    names: Callable[[str], bool]


KINDS: dict[str, Kind] = {}


def kind(name: str, make: Callable[[Random], Any], names: str) -> Callable[[Callable], Callable]:
    """Register how a kind is read; `names` is a pattern that each message of an error has to fit."""

    def add(read: Callable[[Any, Path], None]) -> Callable[[Any, Path], None]:
        KINDS[name] = Kind(make, read, lambda message: re.search(names, message, re.DOTALL) is not None)
        return read

    return add


def written(content: bytes, folder: Path, name: str) -> Path:
    (folder / name).write_bytes(content)
    return folder
