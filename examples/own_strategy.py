# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Search with a strategy of your own: measure each layer alone, then let the cheapest experts go first.

Run it with `python examples/own_strategy.py`; it takes about a minute.
"""

from __future__ import annotations

from pathlib import Path

import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner, Round, SteppedStrategy, register_strategy
from optimum_evoesap.search.curves import Curve, levels


TINY_MOE = Path(__file__).resolve().parent / "tiny_moe"


@register_strategy("greedy")
class Greedy(SteppedStrategy):
    """Takes the next expert from the layer that loses least by it, as measured one layer at a time."""

    num_candidates = 100  # about; the progress bar shows it

    def steps(self):
        space = self.space
        layers = range(len(space.layers))
        # Each probe takes experts from one layer alone, and is scored on the first windows of the data.
        probes = {
            (layer, count): self.candidate([count if each == layer else 0 for each in layers])
            for layer in layers
            for count in [0, *levels(space.max_removed[layer], space.unit, number=4)]
        }
        scores = yield Round(tuple(dict.fromkeys(probes.values())), num_windows=12)
        curves = [
            Curve.through({count: -scores[probe].value for (layer, count), probe in probes.items() if layer == each})
            for each in layers
        ]
        counts = [0 for _ in layers]
        while sum(counts) < space.budget:
            open_layers = [layer for layer in layers if counts[layer] < space.max_removed[layer]]
            cost = {
                layer: curves[layer](counts[layer] + space.unit) - curves[layer](counts[layer])
                for layer in open_layers
            }
            counts[min(cost, key=cost.get)] += space.unit
        found = self.candidate(counts)
        scores = yield Round((self.uniform, found))
        self.found = max(scores, key=lambda one: scores[one].value)
        self.history.append({"best": scores[self.found].value, "uniform": scores[self.uniform].value})

    @property
    def best(self):
        return getattr(self, "found", self.uniform)


def main() -> None:
    config = EvoESAPConfig(
        sparsity=0.5,
        allocation="greedy",
        calibration_dataset=str(TINY_MOE / "data" / "calibration.jsonl"),
        calibration_samples=48,
        search_dataset=str(TINY_MOE / "data" / "search.jsonl"),
        search_samples=48,
        sequence_length=256,
        batch_size=12,
    )
    pruner = MoEPruner.from_pretrained(TINY_MOE / "checkpoint", config=config, dtype=torch.float32)
    pruner.prune()
    print(f"removed from each layer: {pruner.allocation}")
    print({name: round(score, 4) for name, score in pruner.scores.items()})


if __name__ == "__main__":
    main()
