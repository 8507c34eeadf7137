# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`ExpertStatistics`]: what each expert did on the calibration data, as sums that every criterion is made of."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ..models.short_repr import ShortRepr


@dataclass
class LayerStatistics:
    """Sums over the calibration tokens for the experts of one sparse layer; each a tensor of shape (experts,).

    Attributes:
        routed_tokens: Tokens that the router sent to the expert, int64.
        norm_sum: Sum over those tokens of the L2 norm of the expert's output (before the gate weight), float64.
        weight_sum: Sum of the gate weights, float64.
        weighted_norm_sum: Sum of gate weight x L2 norm, float64.
        renormalised_norm_sum: The same with the gate weights of each token divided by their sum, float64.
        squared_norm_sum: Sum of the square of the L2 norm, float64.
        norm_max: Largest L2 norm, 0 for an unused expert, float64.
    """

    routed_tokens: torch.Tensor
    norm_sum: torch.Tensor
    weight_sum: torch.Tensor
    weighted_norm_sum: torch.Tensor
    renormalised_norm_sum: torch.Tensor
    squared_norm_sum: torch.Tensor
    norm_max: torch.Tensor

    @classmethod
    def zeros(cls, num_experts: int, device: torch.device | str = "cpu") -> LayerStatistics:
        """Sums of nothing.

        Args:
            num_experts: Experts of the layer.
            device: Where the sums lie.
        """
        sums = [torch.zeros(num_experts, dtype=torch.float64, device=device) for _ in fields(cls)[1:]]
        return cls(torch.zeros(num_experts, dtype=torch.int64, device=device), *sums)

    def add_(self, others: LayerStatistics, experts: slice) -> None:
        """Add `others` to the sums of some experts, in place; the sums move to the device of `others`.

        Args:
            others: Sums of as many experts.
            experts: Which they are.
        """
        for item in fields(self):
            added = getattr(others, item.name)
            sums = getattr(self, item.name).to(added.device)
            # A sum, but for the largest norm.
            sums[experts] = torch.maximum(sums[experts], added) if item.name == "norm_max" else sums[experts] + added
            setattr(self, item.name, sums)

    def to(self, device: torch.device | str) -> LayerStatistics:
        """The same sums on another device."""
        return LayerStatistics(*(getattr(self, item.name).to(device) for item in fields(self)))


@dataclass(repr=False)
class ExpertStatistics(ShortRepr):
    """[`LayerStatistics`] of every sparse layer, by decoder-layer index, and the tokens they were taken from."""

    layers: dict[int, LayerStatistics]
    num_tokens: int

    def _summary(self) -> list[tuple[str, str]]:
        used = [bool(count) for layer in self.layers.values() for count in layer.routed_tokens.tolist()]
        unused = used.count(False)
        return [
            ("sparse layers", str(len(self.layers))),
            ("experts", str(len(used))),
            ("tokens", f"{self.num_tokens:,}"),
            ("experts never used", f"{unused} ({unused / len(used):.1%})" if used else "0"),
        ]

    def to_tensors(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """The sums by name, and further values as text."""
        tensors = {
            f"{layer}.{item.name}": getattr(statistics, item.name)
            for layer, statistics in self.layers.items()
            for item in fields(statistics)
        }
        return tensors, {"num_tokens": str(self.num_tokens)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> ExpertStatistics:
        """What `to_tensors` gave.

        Args:
            tensors: The sums by name.
            metadata: The further values.

        Raises:
            ValueError: They are of another release, which had other sums.
        """
        indices = sorted({int(name.split(".")[0]) for name in tensors})
        names = [item.name for item in fields(LayerStatistics)]
        absent = [name for name in names for layer in indices if f"{layer}.{name}" not in tensors]
        if absent:
            raise ValueError(f"these statistics are of another release: they have no {absent[0]}; calibrate again.")
        layers = {layer: LayerStatistics(*(tensors[f"{layer}.{name}"] for name in names)) for layer in indices}
        return cls(layers, int(metadata["num_tokens"]))

    def save(self, path: str | Path) -> None:
        """Write the sums as a safetensors file."""
        tensors, metadata = self.to_tensors()
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, path, metadata=metadata)

    @classmethod
    def load(cls, path: str | Path) -> ExpertStatistics:
        """Read what [`~ExpertStatistics.save`] wrote.

        Raises:
            ValueError: It is of another release.
        """
        with safe_open(path, "pt") as file:
            return cls.from_tensors({name: file.get_tensor(name) for name in file.keys()}, file.metadata())
