# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Successive halving: many candidates on few windows, the better ones on more of them, the best on all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..candidate import Candidate
from ..rounds import Round
from .stepped import Steps


if TYPE_CHECKING:
    from ...fitness.window_scores import WindowScores


@dataclass(frozen=True)
class Heat:
    """One stage of a race.

    Attributes:
        num_windows: Windows that the candidates of this stage are scored on.
        share: Share of the candidates of the race that go on to the next stage.
    """

    num_windows: int
    share: float


# Measured on trained models: a fifth to a third of the tokens of a whole generation, the best hardly ever lost.
HEATS = (Heat(6, 0.35), Heat(18, 0.15))


def race(candidates: Sequence[Candidate], heats: Sequence[Heat] = HEATS) -> Steps[dict[Candidate, WindowScores]]:
    """Race candidates; all of a stage are compared on the same windows.

    Args:
        candidates: None twice.
        heats: The stages before the last one, in which those that are left are scored on all windows.

    Returns:
        The scores of those that were scored on all windows.
    """
    left = list(candidates)
    for heat in heats:
        keep = max(1, round(heat.share * len(candidates)))
        if len(left) <= keep:
            continue
        scores = yield Round(tuple(left), heat.num_windows)
        left = sorted(left, key=lambda one: -scores[one].value)[:keep]
    return (yield Round(tuple(left)))
