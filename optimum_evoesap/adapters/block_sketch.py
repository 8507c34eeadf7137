# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`BlockSketch`]: which names of a model belong to one block, sorted into experts' side and router's side."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from .block import ADAPTERS, MoEBlock
from .blocks.routed_experts import RoutedExperts
from .growth import ExpertCount, named_tensors
from .structure import Structure


# The outermost numbered module of a name is the decoder layer: model.layers.3.mlp.gate -> model.layers.3
_LAYER_PATTERN = re.compile(r"^(.*?\.(\d+))(?:\.|$)")


@dataclass
class BlockSketch:
    """The names of one block.

    Attributes:
        layer: Name of the decoder layer.
        adapter: How its experts are called.
        path: Name of the module that runs the experts.
        roots: Names of the modules, or lists of modules, in which the experts' side lies.
        top_k: Experts that a token is routed to, where the model's own run has shown it.
        expert_names: Tensors with an expert axis, and lists of experts, on the experts' side.
        router_names: Tensors with an expert axis on the router's side.
        expert_counts: Module and integer attribute on the experts' side.
        router_counts: Module and integer attribute on the router's side.
    """

    layer: str
    adapter: type[MoEBlock]
    path: str
    roots: list[str]
    top_k: int = 0
    expert_names: list[str] = field(default_factory=list)
    router_names: list[str] = field(default_factory=list)
    expert_counts: list[tuple[str, ExpertCount]] = field(default_factory=list)
    router_counts: list[tuple[str, ExpertCount]] = field(default_factory=list)

    @property
    def index(self) -> int:
        """Index of the decoder layer."""
        return int(self.layer.rpartition(".")[2])

    def widen(self, path: str) -> None:
        """Take a module around the owner of the tensors as the one that runs the experts."""
        self.path, self.roots = path, [path]

    def has_on_experts_side(self, name: str) -> bool:
        """Whether a tensor or module lies on the experts' side."""
        return any(name == root or name.startswith(root + ".") for root in self.roots)

    def nearness(self, name: str) -> int:
        """Number of parts at the start that a name has in common with the path of the block."""
        return len(os.path.commonprefix([self.path.split("."), name.split(".")]))


def sketch_blocks(structure: Structure) -> list[BlockSketch]:
    """The blocks of a model, by the modules that own the big tensors; nothing is assigned to them yet.

    Raises:
        ValueError: Something with an expert axis lies outside the decoder layers.
    """
    shapes = dict(named_tensors(structure.model, remove_duplicate=False))
    # Three axes, or several rows an expert, make an expert tensor; all else is the router's side.
    big = [name for name, axis in structure.axes.items() if shapes[name].ndim >= 3 or axis.rows > 1]
    sketches: dict[str, BlockSketch] = {}
    for name in (*big, *structure.lists):
        owner, _, attribute = name.rpartition(".")
        module = structure.model.get_submodule(owner)
        candidates: tuple[type[MoEBlock], ...] = (*ADAPTERS, RoutedExperts)
        adapter = next(each for each in candidates if each.claims(module, attribute))
        path = adapter.path_of(owner)
        root = name if name in structure.lists else owner
        sketch = sketches.setdefault(path, BlockSketch(_layer_of(name), adapter, path, []))
        if name in structure.lists and sketch.roots:
            raise ValueError(
                f"{path} ({type(structure.model).__name__}) keeps its experts in several lists or tensors: not "
                "supported. Write an adapter with register_adapter."
            )
        if root not in sketch.roots:
            sketch.roots.append(root)
    return list(sketches.values())


def share_out(sketches: list[BlockSketch], structure: Structure) -> None:
    """Assign every tensor, list and count that changes with the expert count to the nearest block.

    Args:
        sketches: All blocks of the model; they are filled in.
        structure: What changes with the expert count.

    Raises:
        ValueError: A tensor with an expert axis belongs to no block, or a block has no router.
    """
    by_layer: dict[str, list[BlockSketch]] = defaultdict(list)
    for sketch in sketches:
        by_layer[sketch.layer].append(sketch)
    for name in (*structure.axes, *structure.lists):
        if not by_layer[_layer_of(name)]:
            raise ValueError(
                f"{name} ({type(structure.model).__name__}) grows with the expert count, but no module with the "
                "weights of experts stands beside it: not supported."
            )
        sketch = _nearest(by_layer[_layer_of(name)], name)
        (sketch.expert_names if sketch.has_on_experts_side(name) else sketch.router_names).append(name)
    for path, counts in structure.counts.items():
        if _LAYER_PATTERN.match(path):
            sketch = _nearest(by_layer[_layer_of(path)], path)
            side = sketch.expert_counts if sketch.has_on_experts_side(path) else sketch.router_counts
            side += [(path, count) for count in counts]
    for sketch in sketches:
        if not sketch.router_names:
            raise ValueError(
                f"The experts {sketch.path} ({type(structure.model).__name__}) have no router with one row an expert: "
                "not supported."
            )


def _layer_of(name: str) -> str:
    match = _LAYER_PATTERN.match(name)
    if match is None:
        raise ValueError(f"{name} has an expert axis but lies outside the decoder layers: not supported.")
    return match.group(1)


def _nearest(sketches: Iterable[BlockSketch], name: str) -> BlockSketch:
    return max(sketches, key=lambda sketch: sketch.nearness(name))
