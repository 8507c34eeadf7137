# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Strategies: what to try next, one a file, by name in `STRATEGIES`. None of them imports torch."""

from .evolution import Evolution
from .fixed import FixedAllocation
from .guided import Guided
from .racing import Racing
from .stepped import SteppedStrategy, Steps
from .strategy import STRATEGIES, Strategy, register_strategy


__all__ = [
    "STRATEGIES",
    "Evolution",
    "FixedAllocation",
    "Guided",
    "Racing",
    "SteppedStrategy",
    "Steps",
    "Strategy",
    "register_strategy",
]
