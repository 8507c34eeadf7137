# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Whether an output folder holds the result of the very run that is asked for, whole and as it was written."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..reports.ranking import RANKING_NAME, Ranking
from ..reports.result import RESULT_NAME, PruningResult


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finished:
    """What a run has left that came to its end.

    Attributes:
        result: Its record.
        ranking: What it measured of the experts, if anything.
    """

    result: PruningResult
    ranking: Ranking | None


def find_finished(directory: str | Path, key: str) -> Finished | None:
    """What the very same run has left in its output folder; `None` where it has not come to its end, or is another.

    Args:
        directory: The output folder.
        key: Fingerprint of everything that the run depends on.
    """
    directory = Path(directory)
    # The config comes last and goes first, so where it is nothing is half written.
    if not all((directory / name).is_file() for name in (RESULT_NAME, "config.json")):
        return None
    try:
        result = PruningResult.load(directory)
        if not result.seal or result.seal != seal_of(result, key):
            return None
        ranking = Ranking.from_pretrained(directory) if RANKING_NAME in result.files else None
    except (ValueError, TypeError, OSError) as error:
        logger.warning("%s holds a result that cannot be read any more (%s).", directory, error)
        return None
    broken = [name for name in result.files if not _is_whole(directory / name)]
    if broken:
        logger.warning("%s holds a result of this run without %s as it was written.", directory, ", ".join(broken))
        return None
    return Finished(result, ranking)


def seal_of(result: PruningResult, key: str) -> str:
    """A fingerprint of a run and of its record, so that neither another run nor a changed record passes for it.

    Args:
        result: The record.
        key: Fingerprint of everything that the run depends on.
    """
    values = asdict(result)
    for name in ("seal", "loaded_from"):
        del values[name]
    # As it is read back: JSON has no tuples, and names of layers are text.
    return hashlib.sha256(json.dumps([key, json.loads(json.dumps(values))], sort_keys=True).encode()).hexdigest()


def _is_whole(path: Path) -> bool:
    """Whether a file is there, and its weights are not cut off."""
    if not path.is_file() or path.suffix != ".safetensors":
        return path.is_file()
    try:
        with safe_open(path, "pt"):
            return True  # its size is what the header says
    except SafetensorError:
        return False
