# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Strategies: what to try next, one a file, by name in `STRATEGIES`. None of them imports torch."""

from .evolution import Evolution
from .fixed import FixedAllocation
from .gradient import Gradient
from .gradient_guided import GradientGuided
from .guided import Guided
from .guided_gradient import GuidedGradient
from .racing import Racing
from .stepped import SteppedStrategy, Steps
from .strategy import STRATEGIES, Strategy, register_strategy


__all__ = [
    "STRATEGIES",
    "Evolution",
    "FixedAllocation",
    "Gradient",
    "GradientGuided",
    "Guided",
    "GuidedGradient",
    "Racing",
    "SteppedStrategy",
    "Steps",
    "Strategy",
    "register_strategy",
]
