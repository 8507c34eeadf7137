# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Adapters: find the sparse layers of a model, their routers, their experts and every tensor with an expert axis."""

from .block import ADAPTERS, MoEBlock, Routes, post_hook, pre_hook, register_adapter
from .dense_experts import DenseExperts
from .discovery import find_moe_layers, model_structure
from .experts_call import ExpertsCall
from .identity_experts import IdentityExperts
from .listed_experts import ListedExperts
from .moe_layer import MoELayer
from .parts import ExpertList, ExpertTensor
from .routed_experts import RoutedExperts
from .sorted_experts import SortedExperts
from .structure import Structure, discover_structure


__all__ = [
    "ADAPTERS",
    "DenseExperts",
    "ExpertList",
    "ExpertTensor",
    "ExpertsCall",
    "IdentityExperts",
    "ListedExperts",
    "MoEBlock",
    "MoELayer",
    "RoutedExperts",
    "Routes",
    "SortedExperts",
    "Structure",
    "discover_structure",
    "find_moe_layers",
    "model_structure",
    "post_hook",
    "pre_hook",
    "register_adapter",
]
