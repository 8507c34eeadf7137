# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The promise: an error of ours that says what is wrong and where, or a right result, in time, and no foreign code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


SECONDS = 20
# What runs something else, or asks somebody else.
_FORBIDDEN = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "pickle.find_class",
    "ctypes.dlopen", "builtins.input",
)  # fmt: skip


class Broken(AssertionError):
    """The promise does not hold."""


class _TooLong(BaseException):
    """No reader may catch it."""


class _Watch:
    """Notes what is forbidden while it is on; an audit hook cannot be taken away again."""

    def __init__(self) -> None:
        self.is_on = False
        self.seen: list[str] = []
        self.folder = "\0"
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.is_on:
            return
        code = {"compile": str(arguments[1:2]), "exec": repr(arguments[:1])}.get(event, "")
        if event in _FORBIDDEN or self.folder in code:
            self.seen.append(f"{event} {arguments!r}"[:200])


_watch: _Watch | None = None


def outcome(read: Callable[[], Any], names: Callable[[str], bool], folder: Path | None = None) -> str:
    """Read an input and say what came of it: "refused" or "read".

    `names` tells whether the message of an error says where it is wrong.
    """
    global _watch
    _watch = _watch or _Watch()
    _watch.seen, _watch.folder, _watch.is_on = [], str(folder or "\0"), True
    previous = [signal.signal(each, _too_long) for each in (signal.SIGPROF, signal.SIGALRM)]
    # Of the processor, since others may use it too; by the clock for what only waits.
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(10 * SECONDS)
    try:
        read()
        found = "read"
    except (ValueError, OSError) as error:
        if isinstance(error, UnicodeError) or not names(str(error)):
            raise Broken(f"{type(error).__name__} does not say where: {str(error)[:300]}") from error
        found = "refused"
    except (KeyboardInterrupt, Broken):
        raise
    except BaseException as error:
        raise Broken(f"{type(error).__name__}: {str(error)[:300]}") from error
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for each, handler in zip((signal.SIGPROF, signal.SIGALRM), previous):
            signal.signal(each, handler)
        _watch.is_on = False
    if _watch.seen:
        raise Broken(f"foreign code or calls: {_watch.seen}")
    return found


def _too_long(*_: Any) -> None:
    raise _TooLong(f"it takes more than {SECONDS} s")
