# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`UnfinishedPiece`]: work over many batches in the state of a run, until it is finished."""

from __future__ import annotations

import json
from collections.abc import Callable

from ..models.unfinished import Content, Part
from .piece_folder import PieceFolder
from .pieces import Tensors, read_tensors


PREFIX = "unfinished-"


class UnfinishedPiece:
    """One file, which is replaced from time to time.

    Args:
        folder: Where it lies.
        name: Of the kind of work.
        key: Fingerprint of what the work depends on.
    """

    def __init__(self, folder: PieceFolder, name: str, key: str):
        self._folder, self._name, self._key = folder, f"{PREFIX}{name}.safetensors", key

    def found(self, read: Callable[[Part], Content]) -> Content | None:
        """What an earlier run has left of this very work; `None` where there is nothing that can be used.

        Args:
            read: Makes of it what the work goes on with.
        """

        def read_part(piece: tuple[Tensors, dict[str, str]]) -> Content:
            tensors, metadata = piece
            return read((tensors, json.loads(metadata["values"])))

        return self._folder.load([self._name], self._key, read_tensors, read_part).get(self._name)

    def keep(self, make: Callable[[], Part]) -> None:
        """Keep how far the work is, where it is time.

        Args:
            make: Makes it; called only where it is kept.
        """
        if self._folder.keeps and self._folder.pace.is_due:
            tensors, values = make()
            self._folder.write_tensors(self._name, self._key, tensors, {"values": json.dumps(values)})

    def end(self) -> None:
        """Remove it: the work is finished, and kept as such."""
        self._folder.remove(self._name)
