# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What Ctrl-C leaves behind in an output folder, and how to go on from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def what_is_left_in(output: str | Path, last_file: str = "config.json", made: str = "checkpoint") -> Callable[[], str]:
    """Look at an output folder before a run; what this returns says, after Ctrl-C, what the run has left in it.

    Args:
        output: The output folder.
        last_file: The last file that is written of what the run makes.
        made: What that is called.
    """
    last = Path(output) / last_file
    before = _written_at(last)

    def what_is_left() -> str:
        from ..run.saved_work import saved_work

        saved = saved_work(output)
        if saved:
            return f"Saved in {output}: {', '.join(saved)}. The same command (without --no-resume) goes on from there."
        if _written_at(last) not in (None, before):
            return f"The {made} in {output} is whole."
        return "Nothing was saved yet: the same command begins again."

    return what_is_left


def _written_at(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.is_file() else None
