# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Curves of single layers at true size: started from the layer that changes, and by whole forwards.

Run with `python -m benchmarks.prefix`. Milliseconds are those of all curves, of eight levels a layer, on the windows.
"""

from __future__ import annotations

import argparse

import torch

from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.fitness.slices import SliceScorer
from optimum_evoesap.kernels.forward.fused_forward import fused_forward
from optimum_evoesap.models.sparse_model import SparseModel
from optimum_evoesap.search.curves import levels

from .models import WINDOW, add_arguments, make_model, make_windows
from .timing import measure, parse_arguments, report


class Curves:
    """The candidates of all curves of a model, and the two ways of scoring them."""

    def __init__(self, name: str, arguments: argparse.Namespace):
        self.sparse_model = SparseModel(make_model(name, arguments.layers))
        self.batches = make_windows(self.sparse_model.model, arguments.windows, arguments.at_once)
        self.rows_at_once = arguments.at_once
        self.candidates = [
            {layer.index: tuple(range(count, layer.num_experts))}
            for layer in self.sparse_model.layers
            for count in levels(layer.num_experts - layer.min_kept, 1, 8)
        ]
        self.scores: dict[str, dict[int, float]] = {}

    def whole(self) -> None:
        scorer = FitnessScorer(self.sparse_model.model, self.batches)
        scores = self.scores["whole"] = {}
        for number, candidate in enumerate(self.candidates):
            with self.sparse_model.sliced(candidate):
                scores[number] = scorer.score().mean

    def shared(self) -> None:
        scorer = SliceScorer(self.sparse_model, self.batches, rows_at_once=self.rows_at_once)
        scores = self.scores["shared"] = {}
        scorer.score_each(self.candidates, lambda told: scores.update({key: one.mean for key, one in told.items()}))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--at-once", type=int, default=4, help="windows in one forward pass")
    arguments = parse_arguments(parser)
    for name in arguments.models:
        curves = Curves(name, arguments)
        model = curves.sparse_model.model
        with fused_forward(model):
            functions = {"whole forwards": curves.whole, "from the changed layer": curves.shared}
            timings = measure(functions, rounds=1, warm_up=0)
        apart = max(abs(score - curves.scores["shared"][key]) for key, score in curves.scores["whole"].items())
        print(f"{len(curves.candidates)} candidates, scores at most {apart:.1e} apart", flush=True)
        report(timings, "whole forwards", what=f"curves of {name}, {arguments.windows} windows",
               rows=WINDOW * arguments.windows, vocabulary=model.config.vocab_size, hidden=model.config.hidden_size,
               dtype="bfloat16")  # fmt: skip


if __name__ == "__main__":
    main()
