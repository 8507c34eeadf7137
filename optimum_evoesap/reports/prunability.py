# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`Prunability`]: what a short measurement says of pruning a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class LayerPrunability:
    """What was measured of one sparse layer.

    Attributes:
        index: Index of the decoder layer.
        busiest_quarter: Share of the routed tokens that the busiest quarter of the experts gets; a quarter where all
            get the same. `None` where no token reached the layer.
        entropy: Of the shares of the experts, over the largest possible: 1 where all get the same; `None` likewise.
        hardly_reached: Experts that got fewer than 8 tokens.
        curve: What the fitness loses where so many experts go from this layer alone.
    """

    index: int
    busiest_quarter: float | None
    entropy: float | None
    hardly_reached: int
    curve: dict[int, float]


@dataclass
class MeasuredOutlook:
    """What is left of a model at one sparsity.

    Attributes:
        sparsity: Removed experts over all routed experts, as achieved.
        removed_experts: Experts that go, from all layers together.
        allocation: How many from each sparse layer, by its curve.
        fitness: Score of that allocation.
        uniform: Score of the uniform one.
    """

    sparsity: float
    removed_experts: int
    allocation: list[int]
    fitness: float
    uniform: float


@dataclass
class Prunability:
    """What a short measurement says of pruning a model.

    Attributes:
        criterion: Name of the criterion that ordered the experts.
        fitness: Name of the fitness.
        data: Description of the data.
        tokens: Tokens that the routing was seen on (`routing`), that each point of a curve is of (`curves`), and that
            the outlooks are scored on (`outlooks`), which are others.
        layers: The sparse layers, in order.
        outlooks: From the smallest sparsity to the largest.
    """

    criterion: str
    fitness: str
    data: str
    tokens: dict[str, int]
    layers: list[LayerPrunability]
    outlooks: list[MeasuredOutlook]
