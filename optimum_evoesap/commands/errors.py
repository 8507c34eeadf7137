# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Errors that the user can fix, and Ctrl-C, are shown in one line; all else is a bug and keeps its traceback.

Where what reads the output has had enough, as `head` has, nothing is said.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn


EXIT_CODE = 2  # as argparse has it for wrong options
INTERRUPTED = 130  # as shells have it for what Ctrl-C has ended
READER_GONE = 141  # as shells have it for what a closed pipe has ended


@contextmanager
def errors_in_one_line(what_is_left: Callable[[], str] = lambda: "Nothing was written.") -> Iterator[None]:
    """Turn the exceptions that the package raises for its users into `error: ...` on stderr and exit code 2.

    Wrong values are `ValueError`; files, folders, the Hub and the network are `OSError` (also in huggingface_hub).
    Ctrl-C becomes a line that begins with `Stopped`, and exit code 130.

    Args:
        what_is_left: After Ctrl-C says in a sentence or two what was kept, and how to go on.

    Raises:
        SystemExit: In place of such an exception.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:
        if not _is_reader_gone():
            _fail(error)
        # At its end Python would try once more to write what is left, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(READER_GONE) from error
    except (ValueError, OSError) as error:
        _fail(error)
    except KeyboardInterrupt as interrupt:
        print(f"Stopped. {what_is_left()}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from interrupt


def _fail(error: Exception) -> NoReturn:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    raise SystemExit(EXIT_CODE) from error


def _is_reader_gone() -> bool:
    """Whether it is standard output that is broken, and no connection of ours."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors alone
    return bool(poll.poll(0))
