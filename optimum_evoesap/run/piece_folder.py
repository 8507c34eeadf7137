# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`PieceFolder`]: the pieces of finished work in one folder; what is damaged or of another run is left out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from .pace import Pace
from .pieces import DAMAGE, Tensors, write_json, write_tensors


logger = logging.getLogger(__name__)

Raw = TypeVar("Raw")
Content = TypeVar("Content")


class PieceFolder:
    """Reads and writes the pieces of a run.

    Args:
        folder: Where they lie; `None`: nothing is kept.
        is_read: Whether those of an earlier run are used.
        hold: Called before something is written: makes the folder again where somebody has removed it.

    Attributes:
        pace: Says when it is time to write.
    """

    def __init__(self, folder: Path | None, is_read: bool = True, hold: Callable[[], None] = lambda: None):
        self._folder, self._is_read, self._hold = folder, is_read, hold
        self.pace = Pace()
        self._has_said_foreign = False

    @property
    def keeps(self) -> bool:
        """Whether anything is kept."""
        return self._folder is not None

    def names(self, pattern: str) -> list[str]:
        """Names of the files that fit a pattern, sorted.

        Args:
            pattern: As for a shell.
        """
        return sorted(path.name for path in self._folder.glob(pattern)) if self._folder is not None else []

    def load(
        self,
        names: Iterable[str],
        key: str,
        open_piece: Callable[[Path], tuple[str, Raw]],
        read: Callable[[Raw], Content],
    ) -> dict[str, Content]:
        """The pieces of a kind that are whole and of this run, by name.

        One warning is logged of those that are damaged, and one in a run of those of another one.

        Args:
            names: Names of the files, which need not be there.
            key: Fingerprint of what the work depends on.
            open_piece: Gives the key and the content of a file, or raises one of `DAMAGE`.
            read: Makes of the content what the run goes on with, or raises one of `DAMAGE`.
        """
        found: dict[str, Content] = {}
        damaged, foreign, reason = [], [], ""
        for path in [self._folder / name for name in names] if self._folder is not None and self._is_read else []:
            if not path.is_file():
                continue
            try:
                saved_key, raw = open_piece(path)
                if saved_key == key:
                    found[path.name] = read(raw)
                else:
                    foreign.append(path)
            except DAMAGE as error:
                damaged.append(path)
                reason = reason or str(error)
        if damaged:
            what = "damaged or of another release; that work is done again (%s)."
            logger.warning("%s " + what, _listed(damaged), reason)
        if foreign and not self._has_said_foreign:
            self._has_said_foreign = True
            what = "of a run with another model, configuration, code or data; that work is done again."
            logger.warning("%s " + what, _listed(foreign))
        if found and self._folder is not None:
            logger.info("Going on with %s of an earlier run.", self._folder / next(iter(found)))
        return found

    def write_json(self, name: str, key: str, content: Any) -> None:
        """Write a piece of JSON.

        Args:
            name: Of the file.
            key: Fingerprint of what the work depends on.
            content: JSON values.
        """
        if self._folder is not None:
            with self.pace.writing():
                self._hold()
                write_json(self._folder / name, key, content)

    def write_tensors(self, name: str, key: str, tensors: Tensors, values: dict[str, str]) -> None:
        """Write a piece of tensors.

        Args:
            name: Of the file.
            key: Fingerprint of what the work depends on.
            tensors: By name.
            values: Further values.
        """
        if self._folder is not None:
            with self.pace.writing():
                self._hold()
                write_tensors(self._folder / name, key, tensors, values)

    def remove(self, name: str) -> None:
        """Remove a piece, where it is there.

        Args:
            name: Of the file.
        """
        if self._folder is not None:
            (self._folder / name).unlink(missing_ok=True)


def _listed(paths: list[Path]) -> str:
    if len(paths) == 1:
        return f"{paths[0]} is"
    return f"{paths[0]} and {len(paths) - 1} more beside it are"
