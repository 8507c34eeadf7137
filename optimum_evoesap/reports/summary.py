# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a finished run is told to the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .result import PruningResult
from .text import short_bytes, short_count, table


BAR_WIDTH = 32


def summarize(result: PruningResult, folder: str | Path) -> str:
    """The result of a run and how to load the checkpoint, as text."""
    parts = [_sizes(result), _bars(result), _scores(result), _loading(result, folder)]
    return "\n\n".join(part for part in parts if part)


def _kept_counts(result: PruningResult) -> list[int]:
    return [total - removed for total, removed in zip(result.num_experts, result.allocation)]


def _sizes(result: PruningResult) -> str:
    experts = {"before": sum(result.num_experts), "after": sum(_kept_counts(result))}
    rows = [
        _size_row("routed experts", experts, str),
        _size_row("parameters", result.parameters, short_count),
        _size_row("size", result.size_in_bytes, short_bytes),
    ]
    return table(rows, header=["", "before", "after", "change"])


def _size_row(name: str, values: dict[str, int], form: Callable[[int], str]) -> list[str]:
    before, after = values["before"], values["after"]
    return [name, form(before), form(after), f"{after / before - 1:+.1%}"]


def _bars(result: PruningResult) -> str:
    """One line a sparse layer; the length of a bar is the share of the largest layer that is kept."""
    largest = max(result.num_experts)
    rows = []
    for layer, total, kept in zip(result.sparse_layers, result.num_experts, _kept_counts(result)):
        filled, whole = round(BAR_WIDTH * kept / largest), round(BAR_WIDTH * total / largest)
        rows.append(f"{layer:>5}  {'#' * filled}{'.' * (whole - filled)}  {kept} of {total}")
    return "\n".join(["layer  experts kept", *rows])


def _scores(result: PruningResult) -> str:
    if not result.scores:
        return "There were no search data, so there are no scores."
    names = {"": "search data", "holdout_": "held-out data"}
    rows = [
        [data, *(f"{result.scores[prefix + which]:.4f}" for which in ("best", "uniform"))]
        for prefix, data in names.items()
        if f"{prefix}best" in result.scores
    ]
    return table(rows, header=[str(result.fitness), "this one", "uniform"]) + "\n" + _verdict(result)


def _verdict(result: PruningResult) -> str:
    if result.beats_uniform is None:
        return f"It was not compared with the uniform allocation on held-out data: {result.not_compared_because}."
    if result.beats_uniform:
        return "This allocation beats the uniform one on held-out data."
    return (
        "This allocation does NOT beat the uniform one on held-out data. Take more search data or generations, "
        "or --allocation uniform."
    )


def _loading(result: PruningResult, folder: str | Path) -> str:
    lines = [f"from transformers import {result.model_loader}"]
    if len(set(_kept_counts(result))) > 1:
        lines.append("import optimum_evoesap  # lets transformers build layers with different numbers of experts")
    lines.append(f'model = {result.model_loader}.from_pretrained("{Path(folder).as_posix()}", dtype="auto")')
    return f"Saved in {folder}. Load it with:\n\n" + "\n".join(f"    {line}" for line in lines)
