# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Fitness: how close a candidate stays to the unpruned model. One function a name, in `FITNESSES`."""

from . import ablations  # noqa: F401  (registers its functions)
from .esap import esap, linear_esap
from .registry import (
    FITNESSES,
    HIDDEN_FITNESSES,
    Fitness,
    ScoredBlock,
    ScoredHidden,
    register_fitness,
    register_hidden_fitness,
)


__all__ = [
    "FITNESSES",
    "HIDDEN_FITNESSES",
    "Fitness",
    "ScoredBlock",
    "ScoredHidden",
    "esap",
    "linear_esap",
    "register_fitness",
    "register_hidden_fitness",
]
