# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`RunState`]: what a killed run leaves behind so that the next one goes on, as safetensors and JSON."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from transformers import PreTrainedModel

from ..calibration.statistics import ExpertStatistics
from .durable import PARTIAL_SUFFIX
from .fingerprint import fingerprint, weights_digest
from .folder_lock import FolderLock
from .pieces import DAMAGE, read_json, read_tensors, write_json, write_tensors


logger = logging.getLogger(__name__)

Content = TypeVar("Content")


class RunState:
    """A folder of finished work, each piece one file with the fingerprint of everything that it depends on.

    The search draws everything from its seed, so the scores alone bring a run back to where it was: it asks for the
    same candidates again and finds their scores. Nothing is unpickled. A piece that is damaged, or of another run, is
    not used: a warning is logged, and its work is done again.

    Entering it takes the lock of the output folder until the run ends.

    Args:
        output: The run's output folder; the state lies in `.evoesap` inside it until the checkpoint is written.
            Without a folder nothing is kept.
        resume: Use what an earlier run left; otherwise it is written over.

    Raises:
        FolderInUseError: Another run holds the folder (on entering).
        OSError: The folder cannot be written (on entering).
    """

    def __init__(self, output: str | Path | None = None, resume: bool = True):
        self._lock = None if output is None else FolderLock(output)
        self._folder = None if self._lock is None else self._lock.folder
        self._resume = resume
        self._weights: str | None = None
        self._numbers: dict[str, set[int]] = {}
        self._foreign: set[str] = set()

    def __enter__(self) -> RunState:
        if self._lock is None or self._folder is None:
            return self
        with ExitStack() as stack:
            stack.enter_context(self._lock)
            # Of a killed run: what it had half written, and all else where it is not to be gone on with.
            for pattern in (f"*{PARTIAL_SUFFIX}", *(() if self._resume else ("*.json", "*.safetensors"))):
                for path in self._folder.glob(pattern):
                    if path.is_file() or path.is_symlink():
                        path.unlink()
            stack.pop_all()  # held until the run ends; an error above lets it go
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.__exit__(kind, error, traceback)

    def hold_again(self) -> None:
        """Make the folder again, where somebody has removed it meanwhile; what was kept in it is found anew.

        Raises:
            FolderInUseError: Another run has the folder by now.
            OSError: It cannot be made.
        """
        if self._lock is not None:
            self._lock.hold_again()

    def key(self, model: PreTrainedModel, *parts: Any) -> str:
        """The fingerprint of a piece of work.

        Args:
            model: The unpruned model.
            *parts: What else the work depends on, as JSON values.
        """
        return "" if self._folder is None else fingerprint(model, *parts, weights=self.weights(model))

    def weights(self, model: PreTrainedModel) -> str:
        """The digest of all weights of the unpruned model, which are read once a run."""
        self._weights = self._weights or weights_digest(model)
        return self._weights

    def load_statistics(self, key: str) -> ExpertStatistics | None:
        """Statistics that were saved under `key`, if any."""

        def read(path: Path) -> tuple[str, ExpertStatistics]:
            saved_key, (tensors, metadata) = read_tensors(path)
            return saved_key, ExpertStatistics.from_tensors(tensors, metadata)

        return self._load("statistics.safetensors", key, read)

    def save_statistics(self, key: str, statistics: ExpertStatistics) -> None:
        """Keep statistics.

        Args:
            key: Fingerprint of what they depend on.
            statistics: The statistics.
        """
        if self._folder is not None:
            self.hold_again()
            write_tensors(self._folder / "statistics.safetensors", key, *statistics.to_tensors())

    def load_series(self, name: str, key: str, read: Callable[[Any], Content]) -> list[Content]:
        """The pieces of a growing kind of work that were saved under `key`.

        Args:
            name: Of the kind of work.
            key: Fingerprint of what it depends on.
            read: Makes the content of a piece from its JSON values.
        """

        def read_piece(path: Path) -> tuple[str, Content]:
            saved_key, content = read_json(path)
            return saved_key, read(content)

        found = {}
        for path in sorted(self._folder.glob(f"{name}-*.json")) if self._folder is not None else ():
            # Not what somebody, or a service that copies folders, has put beside them.
            numbered = re.fullmatch(rf"{re.escape(name)}-([0-9]+)\.json", path.name)
            content = self._load(path.name, key, read_piece) if numbered else None
            if numbered and content is not None:
                found[int(numbered[1])] = content
        self._numbers[name] = set(found)
        return list(found.values())

    def append(self, name: str, key: str, content: Any) -> None:
        """Keep one more piece of a growing kind of work.

        Args:
            name: Of the kind of work.
            key: Fingerprint of what it depends on.
            content: JSON values.
        """
        if self._folder is None:
            return
        taken = self._numbers.setdefault(name, set())
        # The place of a piece that was damaged or of another run is free.
        number = next(each for each in count() if each not in taken)
        self.hold_again()
        write_json(self._folder / f"{name}-{number:06d}.json", key, content)
        taken.add(number)

    def _load(self, name: str, key: str, read: Callable[[Path], tuple[str, Content]]) -> Content | None:
        path = Path() if self._folder is None else self._folder / name
        if not self._resume or not path.is_file():
            return None
        try:
            saved_key, content = read(path)
        except DAMAGE as error:
            logger.warning("%s is damaged or of another release; that work is done again (%s).", path, error)
            return None
        if saved_key != key:
            # Once for all the pieces of a kind.
            kind = path.name.partition("-")[0]
            if kind not in self._foreign:
                logger.warning(
                    "%s is of a run with another model, configuration, code or data; that work is done again.", path
                )
            self._foreign.add(kind)
            return None
        logger.info("Going on with %s of an earlier run.", path)
        return content
