# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Write a file so that a kill or a power cut leaves the old one or the new one, and never half of one."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from .disk_errors import writing


PARTIAL_SUFFIX = ".partial"


def write_durably(path: Path, content: bytes) -> None:
    """Write aside, wait until it is on the disk, and move into place.

    Args:
        path: The file; one that is there is replaced.
        content: All of it.

    Raises:
        OSError: It cannot be written; the old file stays as it is.
    """
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL_SUFFIX}")
    try:
        with writing(path), open(partial, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or what a folder says about the names in it, is on the disk.

    Args:
        path: File or folder.
    """
    if os.name == "nt":
        return  # Windows opens no folders, and syncs no file that is open for reading
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
