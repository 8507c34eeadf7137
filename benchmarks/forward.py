# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Scores of a candidate and calibration, for models of true size with random weights.

Run with `python -m benchmarks.forward`. Milliseconds are those of one window of 4096 tokens, all of them scored.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel

from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.kernels.forward.fused_forward import fused_forward
from optimum_evoesap.models.output_head import final_hidden_states
from optimum_evoesap.models.sparse_model import SparseModel

from .models import WINDOW, add_arguments, arithmetic_seconds, make_model, make_windows
from .naive import NaiveScorer, calibrate_naively
from .timing import Timing, measure, parse_arguments, product_rate, report


class Bench:
    """One model and its windows, and everything that is timed on them."""

    def __init__(self, model: PreTrainedModel, num_windows: int, at_once: int):
        self.sparse_model = SparseModel(model)
        self.model, self.layers = model, self.sparse_model.layers
        self.batches = make_windows(model, num_windows, at_once)
        self.windows = [tokens for batch in self.batches for tokens in batch["input_ids"].split(1)]
        # Half of the experts go, from the layers in turn more and fewer.
        self.kept = {
            layer.index: sorted(
                torch.randperm(layer.num_experts)[: layer.num_experts // 2 + (-4 if number % 2 else 4)].tolist()
            )
            for number, layer in enumerate(self.layers)
        }

    def bare(self) -> None:
        for batch in self.batches:
            final_hidden_states(self.model, {"input_ids": batch["input_ids"]})

    def sliced(self, score: Callable[[], Any]) -> Any:
        with self.sparse_model.sliced(self.kept):
            return score()

    def calibrate(self) -> None:
        observe_experts(self.sparse_model, self.batches, progress=False)

    def naive(self, implementation: str, num_windows: int = 2) -> dict[str, Callable[[], object]]:
        """The naive ways, on fewer windows, with one of transformers' experts implementations."""
        windows = self.windows[:num_windows]
        scorer = NaiveScorer(self.model, windows)

        def score() -> float:
            return self.with_experts(implementation, lambda: self.sliced(scorer.score))

        found = {f"naive score, {implementation} experts": score}
        if implementation == "eager":
            found["naive calibration, every expert on every token"] = lambda: self.with_experts(
                implementation, lambda: calibrate_naively(self.model, self.layers, windows)
            )
        return found

    def with_experts(self, implementation: str, function: Callable[[], Any]) -> Any:
        before = self.model.config._experts_implementation
        self.model.set_experts_implementation(implementation)
        try:
            return function()
        finally:
            self.model.set_experts_implementation(before)


def per_window(timings: dict[str, Timing], windows: int) -> dict[str, Timing]:
    return {
        name: Timing(time.median / windows, time.p20 / windows, time.p80 / windows, time.peak_mb)
        for name, time in timings.items()
    }


def time_model(name: str, arguments: argparse.Namespace) -> None:
    model = make_model(name, arguments.layers)
    held_mb = torch.cuda.memory_allocated() / 1e6
    print(f"{name}: {held_mb / 1e3:.1f} GB of weights", flush=True)
    limit = 1e3 * arithmetic_seconds(model.config, product_rate())
    timings = {"arithmetic": Timing(limit, limit, limit, 0)}
    bench = Bench(model, arguments.windows, arguments.at_once)
    count, rounds = arguments.windows, arguments.rounds
    timings |= per_window(measure({"bare forward, grouped_mm": bench.bare}, rounds, 1), count)
    with fused_forward(model):
        fused = {"bare forward, fused": bench.bare, "calibration": bench.calibrate}
        if arguments.graph:
            fused["bare forward, fused, CUDA graph"] = captured(bench)
        timings |= per_window(measure(fused, rounds, 1), count)
        timings |= time_score(bench, count, rounds, held_mb)
    timings |= time_documents(bench, count, rounds, arguments)
    timings |= per_window(measure({"calibration by hooks, grouped_mm": bench.calibrate}, 1, 1), count)
    for implementation in ("grouped_mm", "eager") if arguments.naive else ():
        timings |= per_window(measure(bench.naive(implementation), 1, 1), 2)
    if arguments.compile:
        timings |= time_compiled(bench, count, rounds)
    report(timings, "arithmetic", what=f"a window of {name}", rows=WINDOW, vocabulary=model.config.vocab_size,
           hidden=model.config.hidden_size, dtype="bfloat16")  # fmt: skip


def time_score(bench: Bench, count: int, rounds: int, held_mb: float) -> dict[str, Timing]:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    scorer = FitnessScorer(bench.model, bench.batches)
    cache_mb = sum(batch.hidden.nbytes + batch.log_sum_exp.nbytes for batch in scorer._teacher) / 1e6
    logits_mb = 2 * count * (WINDOW - 1) * bench.model.config.vocab_size / 1e6
    print(
        f"ESAP of the unpruned model {scorer.score().mean:.7f}, of a candidate {bench.sliced(scorer.score).mean:.4f}"
    )
    print(f"teacher cache {cache_mb:.0f} MB, 1/{logits_mb / cache_mb:.1f} of bfloat16 logits")
    timings = measure({"candidate score": lambda: bench.sliced(scorer.score)}, rounds, 1)
    peak_mb = torch.cuda.max_memory_allocated() / 1e6 - held_mb
    print(f"most memory beyond the weights {peak_mb / 1e3:.2f} GB", flush=True)
    return per_window(timings, count)


def time_documents(bench: Bench, count: int, rounds: int, arguments: argparse.Namespace) -> dict[str, Timing]:
    """The same with several documents in a window."""
    batches = make_windows(bench.model, arguments.windows, arguments.at_once, arguments.document)
    label = f"documents of {arguments.document} tokens"
    inputs = [{name: value for name, value in batch.items() if name != "labels"} for batch in batches]

    def bare() -> None:
        for each in inputs:
            final_hidden_states(bench.model, each)

    timings = measure({f"bare forward, grouped_mm, {label}": bare}, rounds, 1)
    with fused_forward(bench.model):
        timings |= measure({f"bare forward, fused, {label}": bare}, rounds, 1)
        scorer = FitnessScorer(bench.model, batches)
        timings |= measure({f"candidate score, {label}": lambda: bench.sliced(scorer.score)}, rounds, 1)
    return per_window(timings, count)


def captured(bench: Bench) -> Callable[[], object]:
    """Replays of a CUDA graph of the forward pass: what launching costs."""
    inputs = {"input_ids": bench.batches[0]["input_ids"]}
    final_hidden_states(bench.model, inputs)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        final_hidden_states(bench.model, inputs)
    return lambda: [graph.replay() for _ in bench.batches]


def time_compiled(bench: Bench, count: int, rounds: int) -> dict[str, Timing]:
    """Each decoder layer by torch.compile, with the experts of transformers and with ours."""
    timings: dict[str, Timing] = {}
    for layer in bench.layers:
        for module in layer.modules:
            module.compile(dynamic=False)
    for implementation in ("grouped_mm", "evoesap"):
        function = {f"bare forward, {implementation}, torch.compile": bench.bare}
        timings |= bench.with_experts(implementation, lambda function=function: measure(function, rounds, 1))
    return per_window(timings, count)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--at-once", type=int, default=4, help="windows in one forward pass")
    parser.add_argument("--document", type=int, default=1000, help="tokens of a document where there are several")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--graph", action="store_true", help="time a CUDA graph too")
    parser.add_argument("--compile", action="store_true", help="time torch.compile too")
    parser.add_argument("--naive", action=argparse.BooleanOptionalAction, default=True)
    arguments = parse_arguments(parser)
    for name in arguments.models:
        time_model(name, arguments)
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
