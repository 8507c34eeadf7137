# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Compress sparse Mixture-of-Experts language models by removing experts, searched per layer (EvoESAP).

Importing this package also lets transformers load the checkpoints it makes; see [`optimum_evoesap.heterogeneous`].
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .import_hook import install_when_imported
from .version import __version__


if TYPE_CHECKING:
    from .configuration import EvoESAPConfig
    from .criteria import register_criterion
    from .fitness import esap, linear_esap, register_fitness
    from .modeling import EvoESAPModelForCausalLM
    from .pruner import MoEPruner
    from .result import PruningResult

# Loaded when first used, so that importing the package stays fast.
_PUBLIC = {
    "EvoESAPConfig": "configuration",
    "EvoESAPModelForCausalLM": "modeling",
    "MoEPruner": "pruner",
    "PruningResult": "result",
    "esap": "fitness",
    "linear_esap": "fitness",
    "register_criterion": "criteria",
    "register_fitness": "fitness",
}

__all__ = [
    "EvoESAPConfig",
    "EvoESAPModelForCausalLM",
    "MoEPruner",
    "PruningResult",
    "__version__",
    "esap",
    "linear_esap",
    "register_criterion",
    "register_fitness",
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
