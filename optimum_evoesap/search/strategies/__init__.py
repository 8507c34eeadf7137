# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Strategies: what to try next, one a file, by name in `STRATEGIES`. None of them imports torch."""

from .evolution import Evolution
from .fixed import FixedAllocation
from .strategy import STRATEGIES, Strategy, register_strategy


__all__ = ["STRATEGIES", "Evolution", "FixedAllocation", "Strategy", "register_strategy"]
