# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Fitness: how close a candidate stays to the unpruned model. One function a name, in `FITNESSES`."""

from . import ablations  # noqa: F401  (registers its functions)
from .esap import esap, linear_esap
from .registry import FITNESSES, Fitness, ScoredBlock, register_fitness


__all__ = ["FITNESSES", "Fitness", "ScoredBlock", "esap", "linear_esap", "register_fitness"]
