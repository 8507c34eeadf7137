# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What the terminal shows of a finished run."""

from __future__ import annotations

from pathlib import Path

from .figures import bar, domain_rows, score_rows, size_rows
from .result import PruningResult
from .text import interval, score, table, unsure


BAR_WIDTH = 32


def summarize(result: PruningResult, folder: str | Path) -> str:
    """The result of a run and how to load the checkpoint, as text.

    Args:
        result: The record of the run.
        folder: Where the checkpoint was saved.
    """
    parts = [_sizes(result), _bars(result), _criteria(result), _scores(result), _loading(result, folder)]
    return "\n\n".join(part for part in parts if part)


def _sizes(result: PruningResult) -> str:
    rows = size_rows(result.sizes, ("routed experts", "parameters", "size"))
    return table(rows, header=["", "before", "after", "change"])


def _bars(result: PruningResult) -> str:
    """One line a sparse layer; the length of a bar is the share of the largest layer that is kept."""
    largest = max(result.num_experts)
    rows = [
        f"{layer:>5}  {bar(kept, total, BAR_WIDTH * total / largest, '#', '.')}  {kept} of {total}"
        for layer, total, kept in zip(result.sparse_layers, result.num_experts, result.kept_counts)
    ]
    return "\n".join(["layer  experts kept", *rows])


def _criteria(result: PruningResult) -> str:
    """What each criterion scores, where one was to be chosen."""
    ranked = sorted(result.criterion_scores.items(), key=lambda each: -each[1])
    if not ranked:
        return ""
    rows = [[name, score(value)] for name, value in ranked]
    text = table(rows, ["criterion", str(result.fitness)])
    return f"{text}\nOn calibration data at this budget; the criterion {result.criterion} was taken."


def _scores(result: PruningResult) -> str:
    if not result.scores and result.applied_from:
        return "The run that found the result had no search data, so there are no scores."
    if not result.scores:
        return "There were no search data, so there are no scores."
    rows = score_rows(result.scores, ("search data", "held-out data"))
    header = [str(result.fitness), "this one", "uniform", *(["found"] if result.is_guarded else [])]
    text = table(rows, header) + "\n"
    if result.domains:
        header = ["held-out data of", *header[1:], "difference to uniform"]
        text += "\n" + table(domain_rows(result.domains, list(result.domains)), header) + "\n"
    text += _verdict(result)
    if result.stopped_because:
        text += f"\nThe search ended: {result.stopped_because}."
    return f"Measured in the run that found the result:\n{text}" if result.applied_from else text


def _verdict(result: PruningResult) -> str:
    if result.beats_uniform is None:
        return f"It was not compared with the uniform allocation on held-out data: {result.not_compared_because}."
    where = " in the worst domain" if result.goal == "worst" else ""
    between = f" (difference{where} {interval(result.interval)})" if result.interval else where
    if result.beats_uniform:
        return f"This allocation beats the uniform one on held-out data{between}.{unsure(result.interval)}"
    advice = f"{unsure(result.interval)} Take more search data or a longer search, or --allocation uniform."
    if result.is_guarded:
        return (
            f"The allocation found does NOT beat the uniform one on held-out data{between}, so the uniform one was "
            f"taken.{advice} With --no-guard the allocation found is taken."
        )
    return f"This allocation does NOT beat the uniform one on held-out data{between}.{advice}"


def _loading(result: PruningResult, folder: str | Path) -> str:
    lines = [f"from transformers import {result.model_loader}"]
    if not result.is_uniform:
        lines.append("import optimum_evoesap  # lets transformers build layers with different numbers of experts")
    lines.append(f'model = {result.model_loader}.from_pretrained("{Path(folder).as_posix()}", dtype="auto")')
    return f"Saved in {folder}. Load it with:\n\n" + "\n".join(f"    {line}" for line in lines)
