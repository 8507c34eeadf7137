# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A whole search at true size, and the same search done naively. Run with `python -m benchmarks.search`.

Milliseconds are those of the whole search, the teacher's pass and all of the evolution included.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from optimum_evoesap import EvoESAPConfig
from optimum_evoesap.calibration.criteria import order_experts, score_experts
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.fitness.window_scores import WindowScores
from optimum_evoesap.kernels.forward.fused_forward import fused_forward
from optimum_evoesap.models.sparse_model import SparseModel
from optimum_evoesap.search.candidate import Candidate
from optimum_evoesap.search.find import find_allocation, make_strategy
from optimum_evoesap.search.loop import run_search
from optimum_evoesap.search.planning import allocation_space
from optimum_evoesap.search.told_scores import ToldScores

from .models import WINDOW, add_arguments, make_model, make_windows
from .naive import NaiveScorer
from .timing import measure, parse_arguments, report


class NaiveCandidates:
    """Scores candidates in the naive way."""

    batch_size = 1

    def __init__(self, sparse_model: SparseModel, windows: list[torch.Tensor]):
        self.sparse_model, self.naive = sparse_model, NaiveScorer(sparse_model.model, windows)

    def score(self, candidate: Candidate) -> WindowScores:
        with self.sparse_model.sliced(candidate):
            return WindowScores((self.naive.score(),), (1,))


class Search:
    def __init__(self, name: str, arguments: argparse.Namespace):
        self.model = make_model(name, arguments.layers)
        self.sparse_model = SparseModel(self.model)
        self.config = EvoESAPConfig(
            sparsity=0.5, population_size=arguments.population, num_elites=2, generations=arguments.generations
        )
        layers = self.sparse_model.layers
        self.space = allocation_space(self.config, layers)
        self.batches = make_windows(self.model, arguments.windows, arguments.at_once)
        with fused_forward(self.model):
            statistics = observe_experts(self.sparse_model, self.batches[:1], progress=False)
        groups = {layer.index: layer.num_groups for layer in layers}
        self.order = order_experts(score_experts(statistics, "reap"), groups)

    def ours(self) -> None:
        with fused_forward(self.model):
            found = find_allocation(self.sparse_model, self.order, self.space, self.config, self.batches, [])
        print(f"ours: best {found.means['best']:.4f}, uniform {found.means['uniform']:.4f}", flush=True)

    def naive(self, implementation: str) -> Callable[[], None]:
        def run() -> None:
            before = self.model.config._experts_implementation
            self.model.set_experts_implementation(implementation)
            windows = [part for batch in self.batches for part in batch["input_ids"].split(1)]
            strategy, told = make_strategy(self.order, self.space, self.config), ToldScores()
            run_search(strategy, NaiveCandidates(self.sparse_model, windows), told)
            self.model.set_experts_implementation(before)
            print(f"{implementation}: best {told[strategy.best].mean:.4f}", flush=True)

        return run


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--at-once", type=int, default=4, help="windows in one forward pass")
    parser.add_argument("--population", type=int, default=8)
    parser.add_argument("--generations", type=int, default=3)
    parser.add_argument("--naive", nargs="*", default=["grouped_mm", "eager"])
    arguments = parse_arguments(parser)
    for name in arguments.models:
        search = Search(name, arguments)
        functions: dict[str, Callable[[], None]] = {"whole search": search.ours}
        functions |= {f"whole search, naive, {each} experts": search.naive(each) for each in arguments.naive}
        timings = measure(functions, rounds=1, warm_up=0)
        sizes = {"rows": WINDOW * arguments.windows, "vocabulary": search.model.config.vocab_size}
        what = f"search, population {arguments.population}, {arguments.generations} generations, "
        what += f"{arguments.windows} windows, {name}"
        report(timings, "whole search", what=what, hidden=search.model.config.hidden_size, dtype="bfloat16", **sizes)


if __name__ == "__main__":
    main()
