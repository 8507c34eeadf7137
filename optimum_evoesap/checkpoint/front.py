# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Write a front: its table, the result of each point, and the ranking that they share."""

from __future__ import annotations

import logging
from pathlib import Path

from ..reports.front import Front
from ..reports.ranking import Ranking
from ..run.folder_lock import STATE_FOLDER
from .files import remove_state


logger = logging.getLogger(__name__)


def write_front(directory: str | Path, front: Front, ranking: Ranking | None) -> None:
    """Save a front, then remove what the run kept to go on with.

    Args:
        directory: The output folder, held by the run.
        front: The front.
        ranking: What the run measured of the experts, for another budget.

    Raises:
        OSError: The folder cannot be written.
    """
    directory = Path(directory)
    if ranking is not None:
        ranking.save(directory)
    front.save(directory)
    try:
        remove_state(directory / STATE_FOLDER)
    except OSError as error:
        logger.warning("The front is whole, but what the run left beside it cannot be removed: %s", error)
