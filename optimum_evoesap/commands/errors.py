# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Errors that the user can fix are shown in one line; everything else is a bug and keeps its traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


EXIT_CODE = 2  # as argparse has it for wrong options


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn the exceptions that the package raises for its users into `error: ...` on stderr and exit code 2.

    Wrong values are `ValueError`; files, folders, the Hub and the network are `OSError` (also in huggingface_hub).

    Raises:
        SystemExit: In place of such an exception.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(EXIT_CODE) from error
