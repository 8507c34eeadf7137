# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""One run of the study, from a trained model to a row of the table; `benchmarks.quality.study` starts many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from optimum_evoesap.kernels.forward.fused_forward import fused_forward
from optimum_evoesap.search.comparison import paired_interval

from .bench import Bench, load_model


@dataclass(frozen=True)
class Run:
    """What is varied.

    Attributes:
        model: Name of a trained model; `bundled` is that of `examples/tiny_moe`.
        sparsity: Share of the experts that goes.
        data: A name in `bench.DATA`.
        seed: Of the search.
        criterion: Which experts go first.
        strategy: How many go from each layer: a strategy, `uniform`, or `global`, the lowest scores of all layers.
    """

    model: str
    sparsity: float
    data: str
    seed: int
    criterion: str
    strategy: str


COLUMNS = (
    "model sparsity data seed criterion strategy exact_match esap uniform_esap low high search_esap "
    "order_evaluations search_evaluations order_s search_s device kept right"
).split()


@lru_cache(maxsize=4)
def bench_of(path: str, data: str, seed: int, orders: str) -> Bench:
    return Bench(load_model(path), data, seed, Path(orders) / f"{Path(path).stem} {data} {seed}")


def run(one: Run, path: str, orders: str) -> dict[str, Any]:
    """Do a run.

    Args:
        one: The run.
        path: Its model.
        orders: Folder for the orders of experts that runs share.

    Returns:
        A value for each of `COLUMNS`. Evaluations are tokens through all layers, as shares of those of a score on all
        search windows. `right` tells of each held-out question whether it is answered, as bits of a number.
    """
    bench = bench_of(path, one.data, one.seed, orders)
    allocation: Any = one.strategy
    if one.strategy == "global":
        allocation = bench.global_counts(one.criterion, one.sparsity)
    found = bench.find(one.criterion, one.sparsity, allocation=allocation)
    best = found.outcome.best
    with fused_forward(bench.model):
        scores, uniform = (bench.heldout.score(candidate) for candidate in (best, found.uniform))
    right = bench.answers(best)
    search_tokens = bench.inputs.holdout_split(bench.inputs.get("search"))[0]
    whole = len(search_tokens) * bench.config().sequence_length
    low, high = paired_interval(scores, uniform, 0)
    return {
        **vars(one),
        "exact_match": sum(right) / len(right),
        "esap": scores.mean,
        "uniform_esap": uniform.mean,
        "low": low,
        "high": high,
        "search_esap": found.outcome.means.get("best"),
        "order_evaluations": found.ordering.tokens / whole,
        "search_evaluations": found.search.tokens / whole,
        "order_s": found.ordering.seconds,
        "search_s": found.search.seconds,
        "device": str(bench.model.device.type),
        "kept": " ".join(str(len(kept)) for kept in best.values()),
        "right": f"{int(''.join('01'[each] for each in right), 2):x}",
    }
