# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`ExpertStatistics`]: what each expert did on the calibration data, as sums that every criterion is made of."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file


@dataclass
class LayerStatistics:
    """Sums over the calibration tokens for the experts of one sparse layer; each a tensor of shape (experts,).

    Attributes:
        routed_tokens: Tokens that the router sent to the expert, int64.
        norm_sum: Sum over those tokens of the L2 norm of the expert's output (before the gate weight), float64.
        weight_sum: Sum of the gate weights, float64.
        weighted_norm_sum: Sum of gate weight x L2 norm, float64.
    """

    routed_tokens: torch.Tensor
    norm_sum: torch.Tensor
    weight_sum: torch.Tensor
    weighted_norm_sum: torch.Tensor

    @classmethod
    def zeros(cls, num_experts: int, device: torch.device | str = "cpu") -> LayerStatistics:
        """Sums of nothing, for `num_experts` experts."""
        sums = [torch.zeros(num_experts, dtype=torch.float64, device=device) for _ in range(3)]
        return cls(torch.zeros(num_experts, dtype=torch.int64, device=device), *sums)

    def plus(self, others: LayerStatistics, experts: slice) -> LayerStatistics:
        """These sums, with `others` added to those of `experts`; on the device of `others`."""
        total = self.to(others.norm_sum.device)
        for item in fields(self):
            getattr(total, item.name)[experts] += getattr(others, item.name)
        return total

    def to(self, device: torch.device | str) -> LayerStatistics:
        """The same sums on another device."""
        return LayerStatistics(*(getattr(self, item.name).to(device) for item in fields(self)))


@dataclass
class ExpertStatistics:
    """[`LayerStatistics`] of every sparse layer, by decoder-layer index, and the tokens they were taken from."""

    layers: dict[int, LayerStatistics]
    num_tokens: int

    def save(self, path: str | Path) -> None:
        """Write the sums as a safetensors file."""
        tensors = {
            f"{layer}.{item.name}": getattr(statistics, item.name).contiguous().cpu()
            for layer, statistics in self.layers.items()
            for item in fields(statistics)
        }
        save_file(tensors, path, metadata={"num_tokens": str(self.num_tokens)})

    @classmethod
    def load(cls, path: str | Path) -> ExpertStatistics:
        """Read what [`~ExpertStatistics.save`] wrote."""
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            num_tokens = int(file.metadata()["num_tokens"])
        indices = sorted({int(name.split(".")[0]) for name in tensors})
        names = [item.name for item in fields(LayerStatistics)]
        return cls(
            {layer: LayerStatistics(*(tensors[f"{layer}.{name}"] for name in names)) for layer in indices}, num_tokens
        )
