# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`MoELayer`]: one sparse layer as the rest of the package sees it, whatever the architecture calls its parts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PretrainedConfig

from ..heterogeneous.attributes import per_layer_overrides
from ..heterogeneous.layer_config import give_layer_config
from .block import MoEBlock
from .parts import ExpertList, ExpertTensor


@dataclass
class MoELayer:
    """One sparse layer of a model.

    Where a layer has several blocks under one expert count (ERNIE 4.5 VL: experts for text and for images; JetMoE: in
    the MLP and in the attention), its experts are numbered through, block after block, and each block is a group
    of which as many experts go as of the others.

    Attributes:
        index: Index of the decoder layer.
        modules: The decoder layer; several where stacks of layers share their weights (DiffusionGemma).
        blocks: Its routers with their experts.
        config: The config that says how many experts there are.
        attribute: The attribute under which it says so.
        unprunable_reason: Why the layer must be left whole; empty where it can be pruned.
    """

    index: int
    modules: tuple[nn.Module, ...]
    blocks: list[MoEBlock]
    config: PretrainedConfig
    attribute: str
    unprunable_reason: str = ""

    @property
    def num_experts(self) -> int:
        """Routed experts in the layer now, of all its blocks."""
        return sum(block.num_experts for block in self.blocks)

    @property
    def experts_per_block(self) -> int:
        """What the config says of this layer: the experts of one block."""
        return self.blocks[0].num_experts

    @property
    def top_k(self) -> int:
        """Experts of a block that a token is routed to."""
        return self.blocks[0].top_k

    @property
    def num_groups(self) -> int:
        """Groups that must stay equal: those of a group-limited router, and the blocks."""
        return sum(block.num_groups for block in self.blocks)

    @property
    def min_kept(self) -> int:
        """Fewest experts with which the layer still works."""
        return self.num_experts if self.unprunable_reason else sum(block.min_kept for block in self.blocks)

    @property
    def parts(self) -> list[ExpertTensor | ExpertList]:
        """Everything that has one entry per expert."""
        return [part for block in self.blocks for part in block.parts]

    @property
    def expert_parameters(self) -> int:
        """Parameters of all routed experts of the layer."""
        parts = (part for block in self.blocks for part in block.expert_parts)
        return sum(parameter.numel() for part in parts for parameter in part.parameters())

    @property
    def is_on_meta(self) -> bool:
        """Whether some of it is not in memory."""
        return any(tensor.is_meta for part in self.parts for tensor, _ in part.tensors_per_expert())

    def slice_virtually(self, kept: Sequence[int], undo: ExitStack) -> None:
        """Behave as if only `kept` were there, with the expert weights left in place, until `undo` is closed.

        Args:
            kept: Experts of the layer, ascending.
            undo: Restores the layer when it is closed.

        Raises:
            IndexError: The layer has no such expert.
        """
        by_block = self._by_block(kept)
        # Some routers read the count from their config when they run (ZAYA).
        overrides = per_layer_overrides(self.config).get(self.index, {}) | {self.attribute: len(by_block[0])}
        give_layer_config(self.modules, self.config, overrides, undo)
        for block, experts in zip(self.blocks, by_block):
            block.slice_virtually(experts, undo)

    def weigh(self, factors: Tensor, undo: ExitStack) -> None:
        """Multiply what each expert adds to the hidden state by a factor, until `undo` is closed.

        Args:
            factors: Shape (experts of the layer,).
            undo: Restores the layer when it is closed.
        """
        for block, own in zip(self.blocks, factors.chunk(len(self.blocks))):
            block.weigh(own, undo)

    def remove_all_but(self, kept: Sequence[int]) -> None:
        """Really remove the other experts.

        Raises:
            IndexError: The layer has no such expert.
        """
        for block, experts in zip(self.blocks, self._by_block(kept)):
            if len(experts) < block.num_experts:
                block.remove_all_but(experts)

    def _by_block(self, kept: Sequence[int]) -> list[list[int]]:
        absent = [expert for expert in kept if not 0 <= expert < self.num_experts]
        if absent:
            raise IndexError(
                f"Layer {self.index} has no expert {absent[0]}; its {self.num_experts} are numbered from 0."
            )
        size, numbers = self.experts_per_block, range(len(self.blocks))
        return [[expert - number * size for expert in kept if expert // size == number] for number in numbers]
