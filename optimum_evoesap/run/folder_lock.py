# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`FolderLock`]: one run at a time in an output folder."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout


STATE_FOLDER = ".evoesap"
LOCK_NAME = "lock"

logger = logging.getLogger(__name__)

# Each fails only when another run ends in just that moment, or where something is wrong with the folder.
_ATTEMPTS = 100


class FolderInUseError(OSError):
    """Another run is writing into the output folder."""


class FolderLock:
    """Holds an output folder for one run; a second one, here or in another process, is refused at once.

    The operating system releases the lock of a killed process, so the next run is not blocked.

    Args:
        output: The output folder; it is made where it is not there. On exit, what was made and holds nothing goes.

    Raises:
        FolderInUseError: Another run holds the folder (on entering).
        OSError: The folder cannot be made or written (on entering).
    """

    def __init__(self, output: str | Path):
        self._output = Path(output)
        self.folder = self._output / STATE_FOLDER
        # Held by this object and not by a thread: several pruners of one process are several runs.
        self._lock = FileLock(self.folder / LOCK_NAME, timeout=0, thread_local=False)
        self._made: list[Path] = []

    def __enter__(self) -> FolderLock:
        self._made = [folder for folder in (self._output, *self._output.parents) if not folder.exists()]
        try:
            self._acquire()
        except Timeout:
            raise FolderInUseError(
                f"{self._output} is in use by another run, which holds {self.folder / LOCK_NAME}; wait until that "
                "run has ended, or give another folder."
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        lock_file = self.folder / LOCK_NAME
        # Removed while it is held: later, it could be the next run's.
        with suppress(OSError):
            lock_file.unlink()
        self._lock.release()
        for folder in (self.folder, *self._made):
            try:
                folder.rmdir()
            except OSError:
                break  # it holds a result, or the state of a run that did not end

    def hold_again(self) -> None:
        """Make the folder once more and take its lock, where somebody has removed them while they were held.

        Raises:
            FolderInUseError: Another run has the folder by now.
            OSError: It cannot be made.
        """
        if self._holds_the_file_in_place():
            return
        logger.warning("%s was removed while a run writes into it; it is made again.", self.folder)
        self._lock.release()
        self.__enter__()

    def _acquire(self) -> None:
        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
            except (FileNotFoundError, FileExistsError):
                if not attempts_left:
                    raise
                continue  # a run that just ended has taken the folder along, or was doing so
            if self._holds_the_file_in_place():
                return
            self._lock.release()
        raise Timeout(str(self.folder / LOCK_NAME))

    def _holds_the_file_in_place(self) -> bool:
        """Whether what is locked is what the next run will find: a lock on a removed file stops no other run."""
        # No release of filelock tells its file; all have the descriptor here.
        descriptor = self._lock._context.lock_file_fd
        if descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.folder / LOCK_NAME))
        except OSError:
            return False
