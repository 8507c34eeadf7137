# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Adapters: find the sparse layers of a model, their routers, their experts and every tensor with an expert axis."""

from .block import ADAPTERS, MoEBlock, Routes, post_hook, pre_hook, register_adapter
from .block_sketch import BlockSketch
from .blocks.dense_experts import DenseExperts
from .blocks.identity_experts import IdentityExperts
from .blocks.listed_experts import ListedExperts
from .blocks.routed_experts import RoutedExperts
from .blocks.sorted_experts import SortedExperts
from .discovery import bind_layers, check_prunable, find_moe_layers, model_structure, sketch_layers
from .experts_call import ExpertsCall
from .moe_layer import MoELayer
from .parts import ExpertList, ExpertTensor
from .structure import Structure, discover_structure


__all__ = [
    "ADAPTERS",
    "BlockSketch",
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
    "bind_layers",
    "check_prunable",
    "discover_structure",
    "find_moe_layers",
    "model_structure",
    "post_hook",
    "pre_hook",
    "register_adapter",
    "sketch_layers",
]
