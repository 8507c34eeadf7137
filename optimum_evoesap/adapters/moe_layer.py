# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`MoELayer`]: one sparse layer as the rest of the package sees it, whatever the architecture calls its parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .structure import ExpertAxis, ExpertCount


@dataclass(frozen=True)
class ExpertTensor:
    """A parameter or buffer with an expert axis, by the module that owns it."""

    owner: nn.Module
    name: str
    axis: ExpertAxis

    @property
    def value(self) -> torch.Tensor:
        """The tensor as it stands in the module now."""
        return getattr(self.owner, self.name)

    def selected(self, experts: list[int]) -> torch.Tensor:
        """A copy with the rows of `experts`, in that order, and the extra rows."""
        value = self.value
        rows, extra = self.axis.rows, self.axis.extra
        chosen = [expert * rows + row for expert in experts for row in range(rows)]
        chosen += range(value.shape[self.axis.axis] - extra, value.shape[self.axis.axis])
        return value.detach().index_select(self.axis.axis, torch.tensor(chosen, device=value.device))

    def replace(self, value: torch.Tensor) -> None:
        """Put a tensor in place, as the parameter or buffer that the old one is."""
        if self.name in self.owner._parameters:
            if not isinstance(value, nn.Parameter):
                value = nn.Parameter(value, requires_grad=self.value.requires_grad)
            self.owner._parameters[self.name] = value
        else:
            self.owner._buffers[self.name] = value


@dataclass(frozen=True)
class CountAttribute:
    """An integer attribute that counts experts, by the module that has it."""

    owner: nn.Module
    count: ExpertCount

    def set_experts(self, num_experts: int) -> None:
        """Make it say that there are `num_experts` experts."""
        setattr(self.owner, self.count.attribute, self.count.rows * num_experts + self.count.extra)


@dataclass
class MoELayer:
    """One sparse layer of a model.

    Attributes:
        index: Index of the decoder layer.
        layer: The decoder layer.
        experts: The module that runs the experts; its call takes hidden states, expert indices and gate weights.
        top_k: Experts that a token is routed to.
        num_groups: Groups of a group-limited router, otherwise 1.
        min_kept: Fewest experts with which the router still works.
        expert_tensors: Tensors inside `experts`.
        router_tensors: Tensors with an expert axis everywhere else in the layer.
        expert_counts: Integer attributes inside `experts`.
        router_counts: Integer attributes everywhere else in the layer.
    """

    index: int
    layer: nn.Module
    experts: nn.Module
    top_k: int
    num_groups: int
    min_kept: int
    expert_tensors: list[ExpertTensor]
    router_tensors: list[ExpertTensor]
    expert_counts: list[CountAttribute]
    router_counts: list[CountAttribute]

    @property
    def num_experts(self) -> int:
        """Routed experts in the layer now."""
        tensor = self.expert_tensors[0]
        return (tensor.value.shape[tensor.axis.axis] - tensor.axis.extra) // tensor.axis.rows

    @property
    def tensors(self) -> list[ExpertTensor]:
        """All tensors with an expert axis."""
        return self.expert_tensors + self.router_tensors

    @property
    def counts(self) -> list[CountAttribute]:
        """All integers that count experts."""
        return self.expert_counts + self.router_counts

    @property
    def expert_parameters(self) -> int:
        """Parameters of all routed experts of the layer."""
        return sum(tensor.value.numel() for tensor in self.expert_tensors)


@dataclass
class ExpertsCall:
    """The arguments of one call of an experts module, whatever their order and names.

    The expert indices are the integer tensor, the gate weights the floating one of the same shape.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __post_init__(self):
        places = list(self._places())
        self._indices_place = next(p for p, v in places if not v.is_floating_point() and v.dtype != torch.bool)
        shape = self.indices.shape
        floating = [(p, v) for p, v in places if v.is_floating_point()]
        self._weights_place = next(p for p, v in floating if v.shape == shape and p != floating[0][0])
        self._hidden_place = floating[0][0]

    def _places(self) -> Iterator[tuple[int | str, torch.Tensor]]:
        yield from ((i, v) for i, v in enumerate(self.args) if isinstance(v, torch.Tensor))
        yield from ((k, v) for k, v in self.kwargs.items() if isinstance(v, torch.Tensor))

    def _get(self, place: int | str) -> torch.Tensor:
        return self.args[place] if isinstance(place, int) else self.kwargs[place]

    @property
    def hidden(self) -> torch.Tensor:
        """Hidden states, shape (tokens, hidden size)."""
        return self._get(self._hidden_place)

    @property
    def indices(self) -> torch.Tensor:
        """Expert of each route, shape (tokens, top-k)."""
        return self._get(self._indices_place)

    @property
    def weights(self) -> torch.Tensor:
        """Gate weight of each route, shape (tokens, top-k)."""
        return self._get(self._weights_place)

    def replace(
        self,
        indices: torch.Tensor,
        hidden: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the same call with other tensors in their places."""
        args, kwargs = list(self.args), dict(self.kwargs)
        places = (self._indices_place, self._hidden_place, self._weights_place)
        for place, value in zip(places, (indices, hidden, weights)):
            if value is None:
                continue
            if isinstance(place, int):
                args[place] = value
            else:
                kwargs[place] = value
        return tuple(args), kwargs
