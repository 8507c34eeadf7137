# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Adapters: find the sparse layers of a model, their routers, their experts and every tensor with an expert axis."""

from .discovery import find_moe_layers, model_structure
from .moe_layer import ExpertsCall, ExpertTensor, MoELayer
from .structure import Structure, discover_structure, global_value, per_layer_overrides


__all__ = [
    "ExpertTensor",
    "ExpertsCall",
    "MoELayer",
    "Structure",
    "discover_structure",
    "find_moe_layers",
    "global_value",
    "model_structure",
    "per_layer_overrides",
]
