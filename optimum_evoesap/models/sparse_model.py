# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`SparseModel`]: a model with its sparse layers, found once and handed down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from ..adapters import BlockSketch, Structure, bind_layers, check_prunable, model_structure, sketch_layers
from ..adapters.growth import named_tensors
from .half_pruned import check_not_half_pruned, whole_or_unusable
from .origin import ModelOrigin
from .rebuild import check_rebuild
from .surgery import remove_experts
from .virtual_slice import VirtualSlice


class SparseModel:
    """A model, the structure of its class, and its sparse layers.

    Args:
        model: A transformers model; also one on the meta device, or one whose layers have different expert counts.
        structure: The structure of its class, where it is known already.
        sketches: The blocks of that structure, likewise.

    Attributes:
        model: The model.
        structure: Where its class keeps its experts.
        layers: Its sparse layers, in order.
        origin: Where the model came from, as it was when this was made.
        source_tensors: Files with tensors that loading has cast from float32, by the tensors' names.

    Raises:
        ValueError: The model is dense or not supported, or an interrupt has left it half pruned.
    """

    def __init__(
        self, model: PreTrainedModel, structure: Structure | None = None, sketches: list[BlockSketch] | None = None
    ):
        check_not_half_pruned(model)
        self.model = model
        self.structure = structure or model_structure(model)
        self._sketches = sketches or sketch_layers(self.structure)
        check_prunable(model, self.structure)
        self.layers = bind_layers(model, self.structure, self._sketches)
        self.origin = ModelOrigin.of(model)
        self.source_tensors: dict[str, Path] = {}
        self._is_rebuild_checked = False

    def bind(self, model: PreTrainedModel) -> SparseModel:
        """Another model of the same class and config, such as the one with weights.

        Nothing is discovered again, unless its tensors have other names or shapes.

        Args:
            model: The other model.

        Raises:
            ValueError: It holds tensors that its class does not make.
        """
        if _shapes(model) != _shapes(self.model):
            return SparseModel(model)
        bound = SparseModel(model, self.structure, self._sketches)
        bound._is_rebuild_checked = self._is_rebuild_checked
        return bound

    @property
    def indices(self) -> list[int]:
        """Decoder-layer indices of the sparse layers."""
        return [layer.index for layer in self.layers]

    @property
    def num_experts(self) -> list[int]:
        """Routed experts of each sparse layer now."""
        return [layer.num_experts for layer in self.layers]

    def sliced(self, kept_experts: Mapping[int, Sequence[int]]) -> VirtualSlice:
        """A context in which the model uses only some of its experts.

        Args:
            kept_experts: The kept experts of decoder layers, ascending; layers that are not named stay whole.
        """
        return VirtualSlice(self.layers, kept_experts)

    def remove(self, kept_experts: Mapping[int, Sequence[int]]) -> PreTrainedModel:
        """Really remove the others, in place. A model on which this ends half-way refuses everything from then on.

        Args:
            kept_experts: As for `sliced`.
        """
        return whole_or_unusable(
            self.model, lambda: remove_experts(self.model, self.layers, self.structure, kept_experts)
        )

    def check_rebuild(self) -> None:
        """Build the class without weights with different expert counts, as loading a pruned checkpoint will.

        Raises:
            ValueError: It cannot be built so.
        """
        if not self._is_rebuild_checked:
            check_rebuild(self.model, self.layers, self.structure, self._sketches)
        self._is_rebuild_checked = True

    def check_still_as_found(self, num_experts: Sequence[int]) -> None:
        """Check that nobody else has pruned the model meanwhile.

        Args:
            num_experts: Routed experts that each sparse layer had.

        Raises:
            ValueError: It has others now, or is half pruned.
        """
        check_not_half_pruned(self.model)
        if self.num_experts != list(num_experts):
            raise ValueError(
                f"The sparse layers of this {type(self.model).__name__} have {self.num_experts} experts now, and had "
                f"{list(num_experts)} before: something else has pruned it. Make a new MoEPruner of it."
            )

    def check_in_memory(self) -> None:
        """Check that the experts are where they can be run.

        Raises:
            ValueError: Some are on the meta device, as where `device_map` keeps them on the CPU or the disk.
        """
        absent = [layer.index for layer in self.layers if layer.is_on_meta]
        if absent:
            raise ValueError(
                f"The experts of the layers {absent} are not in memory: device_map keeps them on the CPU or the disk. "
                "Load the model on devices that hold all of it (more GPUs, or the CPU alone)."
            )


def _shapes(model: PreTrainedModel) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in named_tensors(model)}
