# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The parts of a sparse layer that have one entry per expert: tensors, lists of modules, counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .growth import ExpertAxis, ExpertCount


@dataclass(frozen=True)
class ExpertTensor:
    """A parameter or buffer with an expert axis, by the modules that own it (several where layers share weights)."""

    owners: tuple[nn.Module, ...]
    name: str
    axis: ExpertAxis

    @property
    def value(self) -> torch.Tensor:
        """The tensor as it stands in the module now."""
        return getattr(self.owners[0], self.name)

    @property
    def num_experts(self) -> int:
        """Experts that it holds now."""
        return (self.value.shape[self.axis.axis] - self.axis.extra) // self.axis.rows

    def selected(self, experts: Sequence[int]) -> torch.Tensor:
        """A copy with the rows of `experts`, in that order, and the extra rows."""
        value = self.value
        rows, extra = self.axis.rows, self.axis.extra
        chosen = [expert * rows + row for expert in experts for row in range(rows)]
        chosen += range(value.shape[self.axis.axis] - extra, value.shape[self.axis.axis])
        return value.detach().index_select(self.axis.axis, torch.tensor(chosen, device=value.device))

    def replace(self, value: torch.Tensor) -> None:
        """Put a tensor in place, as the parameter or buffer that the old one is."""
        is_parameter = self.name in self.owners[0]._parameters
        if is_parameter and not isinstance(value, nn.Parameter):
            value = nn.Parameter(value, requires_grad=self.value.requires_grad)
        for owner in self.owners:
            table: dict[str, Any] = owner._parameters if is_parameter else owner._buffers
            table[self.name] = value

    def parameters(self) -> list[nn.Parameter]:
        """The tensor, if it is a parameter."""
        return [self.value] if isinstance(self.value, nn.Parameter) else []

    def tensors_per_expert(self) -> list[tuple[torch.Tensor, int]]:
        """Each tensor, and how many of its values go with one expert."""
        return [(self.value, self.value.numel() // self.value.shape[self.axis.axis] * self.axis.rows)]


@dataclass(frozen=True)
class ExpertList:
    """A `ModuleList` with one module per expert, by the module that owns it."""

    owner: nn.Module
    name: str

    @property
    def value(self) -> nn.ModuleList:
        """The list as it stands in the module now."""
        return getattr(self.owner, self.name)

    @property
    def num_experts(self) -> int:
        """Experts that it holds now."""
        return len(self.value)

    def selected(self, experts: Sequence[int]) -> nn.ModuleList:
        """A list of the modules of `experts`, in that order; they are the same modules, not copies."""
        return nn.ModuleList([self.value[expert] for expert in experts])

    def replace(self, value: nn.ModuleList) -> None:
        """Put a list in place."""
        self.owner._modules[self.name] = value

    def parameters(self) -> list[nn.Parameter]:
        """The parameters of all its experts."""
        return list(self.value.parameters())

    def tensors_per_expert(self) -> list[tuple[torch.Tensor, int]]:
        """Each tensor of one expert, and its size."""
        return [(tensor, tensor.numel()) for tensor in (*self.value[0].parameters(), *self.value[0].buffers())]


@dataclass(frozen=True)
class CountAttribute:
    """An integer attribute that counts experts, by the module that has it."""

    owner: nn.Module
    count: ExpertCount

    def set_experts(self, num_experts: int) -> None:
        """Make it say that there are `num_experts` experts."""
        setattr(self.owner, self.count.attribute, self.count.rows * num_experts + self.count.extra)
