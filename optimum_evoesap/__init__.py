# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Compress sparse Mixture-of-Experts language models by removing experts, searched per layer (EvoESAP).

Importing this package also lets transformers load the checkpoints it makes; see [`optimum_evoesap.heterogeneous`].
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .install import install_when_imported
from .version import __version__


if TYPE_CHECKING:
    from .calibration.criteria import register_criterion
    from .calibration.measured import Measurement, register_measured_criterion
    from .configuration import EvoESAPConfig
    from .fitness import esap, linear_esap, register_fitness
    from .heterogeneous.auto import EvoESAPModelForCausalLM
    from .models.whole import ModelInUseError
    from .pruner import MoEPruner
    from .reports.front import Front
    from .reports.inspection import inspect_model
    from .reports.measured import measure_prunability
    from .reports.result import PruningResult
    from .search.estimate import RunEstimate
    from .search.rounds import KeepLogits, Round
    from .search.strategies import SteppedStrategy, Strategy, register_strategy

# Loaded when first used, so that importing the package stays fast.
_PUBLIC = {
    "EvoESAPConfig": "configuration",
    "EvoESAPModelForCausalLM": "heterogeneous.auto",
    "Front": "reports.front",
    "KeepLogits": "search.rounds",
    "Measurement": "calibration.measured",
    "MoEPruner": "pruner",
    "ModelInUseError": "models.whole",
    "PruningResult": "reports.result",
    "Round": "search.rounds",
    "RunEstimate": "search.estimate",
    "SteppedStrategy": "search.strategies",
    "Strategy": "search.strategies",
    "esap": "fitness",
    "inspect_model": "reports.inspection",
    "linear_esap": "fitness",
    "measure_prunability": "reports.measured",
    "register_criterion": "calibration.criteria",
    "register_fitness": "fitness",
    "register_measured_criterion": "calibration.measured",
    "register_strategy": "search.strategies",
}

__all__ = [
    "EvoESAPConfig",
    "EvoESAPModelForCausalLM",
    "Front",
    "KeepLogits",
    "Measurement",
    "MoEPruner",
    "ModelInUseError",
    "PruningResult",
    "Round",
    "RunEstimate",
    "SteppedStrategy",
    "Strategy",
    "__version__",
    "esap",
    "inspect_model",
    "linear_esap",
    "measure_prunability",
    "register_criterion",
    "register_fitness",
    "register_measured_criterion",
    "register_strategy",
]

install_when_imported()


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
