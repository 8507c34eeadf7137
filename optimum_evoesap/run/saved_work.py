# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a run that did not end has left in its output folder, in words."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from .expert_scores import RANKING
from .folder_lock import STATE_FOLDER
from .pieces import DAMAGE, read_json
from .unfinished_piece import PREFIX


# Pieces that are no scores of the search.
_KINDS = {
    "logits": "training{} of keep logits",
    "choice": "score{} to choose a criterion by",
    "heldout": "score{} on held-out data",
}
# Rankings come before all of these.
_COURSE = ("choice", "calibration", "logits", "search", "heldout")


def saved_work(output: str | Path) -> list[str]:
    """Each kind of finished work that lies in an output folder; none where there is nothing to go on from.

    Args:
        output: The output folder of the run.
    """
    state = Path(output) / STATE_FOLDER
    counts: Counter[str] = Counter()
    for path in sorted(state.glob("*-*.json")):
        numbered = re.fullmatch(r"(.+)-[0-9]+\.json", path.name)
        if numbered:
            counts[numbered[1]] += _number_of_results(path)
    saved = ["the statistics"] if (state / "statistics.safetensors").is_file() else []
    saved += [_words(name, counts[name]) for name in sorted(counts, key=_place) if counts[name]]
    return saved + [_words_of_part(path.stem.removeprefix(PREFIX)) for path in sorted(state.glob(f"{PREFIX}*"))]


def _words_of_part(name: str) -> str:
    if name.startswith(RANKING):
        return f"part of the experts by {name.removeprefix(RANKING)}"
    return {"statistics": "part of the statistics", "logits": "part of a training of keep logits"}.get(name, name)


def _place(series: str) -> tuple[int, str]:
    """Where a series comes in the course of a run."""
    return (_COURSE.index(series) if series in _COURSE else -1, series)


def how_to_go_on(output: str | Path) -> str:
    """After an error says in a sentence or two what is kept in an output folder, and how to go on.

    Args:
        output: The output folder of the run.
    """
    saved = saved_work(output)
    kept = f"What is finished is kept there ({', '.join(saved)})" if saved else "Nothing of this run is kept there yet"
    then = "the same again goes on from there" if saved else "start again"
    return f"{kept}, and an earlier result is as it was: see to the disk, then {then}."


def _words(series: str, number: int) -> str:
    plural = "s" * (number != 1)
    if series.startswith(RANKING):
        return f"the experts of {number} layer{plural} by {series.removeprefix(RANKING)}"
    if series in _KINDS:
        return f"{number} {_KINDS[series].format(plural)}"
    return f"{number} score{plural} on {series} data"


def _number_of_results(path: Path) -> int:
    """Scores of candidates or of layers in a piece, or 1 for a piece of another kind; 0 where it is damaged."""
    try:
        _, content = read_json(path)
    except DAMAGE:
        return 0
    scores = content.get("scores") if isinstance(content, dict) else None
    return len(scores) if isinstance(scores, (list, dict)) else 1
