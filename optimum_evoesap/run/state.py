# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`RunState`]: what a killed run leaves behind so that the next one goes on, as safetensors and JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
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
from .pace import Pace
from .piece_folder import PieceFolder
from .pieces import read_json, read_tensors
from .unfinished_piece import UnfinishedPiece


Content = TypeVar("Content")

_STATISTICS = "statistics"


class RunState:
    """A folder of finished work, each piece one file with the fingerprint of everything that it depends on.

    The search draws everything from its seed, so the scores alone bring a run back to where it was: it asks for the
    same candidates again and finds their scores. Nothing is unpickled. A piece that is damaged, or of another run, is
    not used: a warning is logged, and its work is done again. Work over many batches that is not finished is kept too,
    from time to time.

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
        self._pieces = PieceFolder(self._folder, resume, self.hold_again)
        # Where the next piece of a kind may go: the places that are free.
        self._free: dict[str, Iterator[int]] = {}

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

    @property
    def pace(self) -> Pace:
        """Says when it is time to keep something."""
        return self._pieces.pace

    def load_statistics(self, key: str) -> ExpertStatistics | None:
        """Statistics that were saved under `key`, if any."""
        name = f"{_STATISTICS}.safetensors"
        found = self._pieces.load([name], key, read_tensors, lambda piece: ExpertStatistics.from_tensors(*piece))
        return found.get(name)

    def save_statistics(self, key: str, statistics: ExpertStatistics) -> None:
        """Keep statistics that are whole.

        Args:
            key: Fingerprint of what they depend on.
            statistics: The statistics.
        """
        self._pieces.write_tensors(f"{_STATISTICS}.safetensors", key, *statistics.to_tensors())
        self.unfinished_statistics(key).end()

    def unfinished_statistics(self, key: str) -> UnfinishedPiece:
        """Where statistics are kept as long as they are not whole.

        Args:
            key: Fingerprint of what they depend on.
        """
        return self.unfinished(_STATISTICS, key)

    def unfinished(self, name: str, key: str) -> UnfinishedPiece:
        """Where a kind of work is kept until it is finished.

        Args:
            name: Of the kind of work.
            key: Fingerprint of what it depends on.
        """
        return UnfinishedPiece(self._pieces, name, key)

    def load_series(self, name: str, key: str, read: Callable[[Any], Content]) -> list[Content]:
        """The pieces of a growing kind of work that were saved under `key`.

        Args:
            name: Of the kind of work.
            key: Fingerprint of what it depends on.
            read: Makes the content of a piece from its JSON values.
        """
        # Not what somebody, or a service that copies folders, has put beside them.
        numbered = re.compile(rf"{re.escape(name)}-([0-9]+)\.json")
        names = [each for each in self._pieces.names(f"{name}-*.json") if numbered.fullmatch(each)]
        loaded = self._pieces.load(names, key, read_json, read)
        found = {int(each.removeprefix(f"{name}-").removesuffix(".json")): content for each, content in loaded.items()}
        # The place of a piece that was damaged or of another run is free.
        self._free[name] = (number for number in count() if number not in found)
        return list(found.values())

    def append(self, name: str, key: str, content: Any) -> None:
        """Keep one more piece of a growing kind of work.

        Args:
            name: Of the kind of work.
            key: Fingerprint of what it depends on.
            content: JSON values.
        """
        number = next(self._free.setdefault(name, count()))
        self._pieces.write_json(f"{name}-{number:06d}.json", key, content)
