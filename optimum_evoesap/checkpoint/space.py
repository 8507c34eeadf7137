# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Whether there is room for a checkpoint, before the work that it is made by."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from ..reports.text import short_bytes
from ..run.disk_errors import DiskError


# Headers of tensors, the other files and the state of the run; and what an estimate may be off.
_BESIDE_WEIGHTS = 1_000_000
_LEAST_SHARE = 0.98


def check_free_space(folder: str | Path, weight_bytes: int) -> None:
    """Raise where the disk of a folder has too little room. An earlier result is replaced only by a whole one.

    Args:
        folder: A folder that is there.
        weight_bytes: About the size of the weights that will be written.

    Raises:
        DiskError: There is too little room.
    """
    free, needed = shutil.disk_usage(folder).free, weight_bytes + _BESIDE_WEIGHTS
    if free < needed * _LEAST_SHARE:
        raise DiskError(
            errno.ENOSPC,
            f"The disk of {folder} has {short_bytes(free)} free, and the result needs about {short_bytes(needed)}, "
            "beside an earlier one until it is whole: make room, or give a folder on another disk.",
        )
