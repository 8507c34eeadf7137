# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`ToldLogits`]: keep logits that were trained, kept in the state of the run."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from ..run.state import RunState
from ..run.unfinished_piece import UnfinishedPiece
from .allocation import AllocationSpace
from .keep_logits.logits import Logits
from .rounds import KeepLogits


class ToldLogits:
    """What is known of keep logits on some data, by all that they were trained with.

    Args:
        state: The state of the run; by default nothing is kept.
        key: Fingerprint of model, data and seed.
    """

    def __init__(self, state: RunState | None = None, key: str = ""):
        self._state, self._key = state or RunState(), key
        self._known: dict[str, dict[int, list[float]]] = {}
        # What it took an earlier run.
        self._seconds: dict[str, float] = {}
        for identity, logits, seconds in self._state.load_series(_NAME, key, _read):
            self._known[identity], self._seconds[identity] = logits, seconds

    def get(self, asked: KeepLogits, space: AllocationSpace) -> dict[int, list[float]] | None:
        """Logits that were trained already; `None` where they were not.

        Args:
            asked: What they were asked for with.
            space: The allowed allocations.
        """
        return self._known.get(_identity(asked, space))

    def seconds_of(self, asked: KeepLogits, space: AllocationSpace) -> float:
        """What it took an earlier run to train logits; told once.

        Args:
            asked: What they were asked for with.
            space: The allowed allocations.
        """
        return self._seconds.pop(_identity(asked, space), 0.0)

    def unfinished(self, asked: KeepLogits, space: AllocationSpace) -> UnfinishedPiece:
        """Where logits are kept that are being trained.

        Args:
            asked: What they were asked for with.
            space: The allowed allocations.
        """
        return self._state.unfinished(_NAME, f"{self._key} {_identity(asked, space)}")

    def add(self, asked: KeepLogits, space: AllocationSpace, logits: Logits, seconds: float = 0.0) -> None:
        """Keep logits.

        Args:
            asked: What they were asked for with.
            space: The allowed allocations.
            logits: For each sparse layer.
            seconds: What it took to train them.
        """
        identity = _identity(asked, space)
        self._known[identity] = {layer: list(values) for layer, values in logits.items()}
        values = [[layer, list(each)] for layer, each in logits.items()]
        self._state.append(_NAME, self._key, {"asked": identity, "logits": values, "seconds": seconds})
        self.unfinished(asked, space).end()


_NAME = "logits"


def _identity(asked: KeepLogits, space: AllocationSpace) -> str:
    allowed = asdict(space) | {"protected": [sorted(each) for each in space.protected]}
    return json.dumps([asked.to_json(), allowed], sort_keys=True)


def _read(content: Any) -> tuple[str, dict[int, list[float]], float]:
    logits = {int(layer): list(map(float, each)) for layer, each in content["logits"]}
    return str(content["asked"]), logits, float(content["seconds"])
