# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Errors of full, failing and read-only disks, in one form whoever raises them: which place, why, and what is kept."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


# What libraries written in Rust raise: SafetensorError, and a bare Exception of tokenizers.
_NUMBER = re.compile(r"\b(?:os error |code: )(\d+)\b")
_OF_THE_DISK = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "EACCES", "EPERM", "ENOENT", "ENOTDIR", "EISDIR")
    if hasattr(errno, name)
}


class DiskError(OSError):
    """A place cannot be written.

    Args:
        number: The error number of the operating system.
        message: All that the user reads.
    """

    def __init__(self, number: int, message: str):
        super().__init__(number, message)

    def __str__(self) -> str:
        """The message alone."""
        return str(self.strerror)


@contextmanager
def writing(place: str | Path) -> Iterator[None]:
    """Give errors the form of the operating system, with a place, while something is written there.

    Args:
        place: The file or folder.

    Raises:
        OSError: In place of what a library made of it; with a file name.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _OF_THE_DISK and error.filename is None and not isinstance(error, DiskError):
            error.filename = str(place)
        raise
    except Exception as error:
        found = _NUMBER.search(str(error))
        if found is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(place)) from error


@contextmanager
def told_for(directory: Path | None, what_is_kept: Callable[[], str]) -> Iterator[None]:
    """Tell errors of the disk in an output folder in one line.

    Args:
        directory: The output folder, if any.
        what_is_kept: Says in a sentence or two what is there in spite of the error, and how to go on.

    Raises:
        DiskError: In place of such an error.
    """
    try:
        yield
    except OSError as error:
        is_told = isinstance(error, DiskError) or error.errno not in _OF_THE_DISK
        if is_told or directory is None or not _is_in(error.filename, directory):
            raise
        reason = os.strerror(error.errno or 0)
        raise DiskError(
            error.errno or 0, f"{directory} cannot be written: {reason} ({error.filename}). {what_is_kept()}"
        ) from error


def _is_in(name: object, directory: Path) -> bool:
    return isinstance(name, (str, os.PathLike)) and Path(name).absolute().is_relative_to(directory.absolute())
