# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`MoEBlock`]: one router and its experts; each way in which models call their experts is a subclass of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .parts import CountAttribute, ExpertList, ExpertTensor


@dataclass
class Routes:
    """What the experts of one block did in one call, a route being one token at one expert.

    Attributes:
        experts: Expert of each route, shape (routes,); numbers past the last expert stand for no expert.
        weights: Its gate weight, shape (routes,).
        norms: L2 norm of the expert's output before the gate weight, shape (routes,), float32.
        tokens: Position of its token in the flattened batch, shape (routes,).
        num_tokens: Tokens of that batch.
    """

    experts: torch.Tensor
    weights: torch.Tensor
    norms: torch.Tensor
    tokens: torch.Tensor
    num_tokens: int


Record = Callable[[Routes], None]


@dataclass
class MoEBlock(ABC):
    """One router and its experts.

    Attributes:
        path: Name of the experts module in the decoder layer, such as `mlp.experts`.
        experts: The modules that run the experts: one, or several that share all weights.
        top_k: Experts that a token is routed to.
        num_groups: Groups of a group-limited router, otherwise 1.
        min_kept: Fewest experts with which the router still works.
        expert_parts: What has one entry per expert inside `experts`.
        router_tensors: Tensors with an expert axis everywhere else.
        expert_counts: Integer attributes inside `experts`.
        router_counts: Integer attributes everywhere else.
    """

    path: str
    experts: tuple[nn.Module, ...]
    top_k: int
    num_groups: int
    min_kept: int
    expert_parts: list[ExpertTensor | ExpertList]
    router_tensors: list[ExpertTensor]
    expert_counts: list[CountAttribute]
    router_counts: list[CountAttribute]

    @classmethod
    @abstractmethod
    def claims(cls, owner: nn.Module, name: str) -> bool:
        """Whether this adapter is for experts whose tensors, or list, are attributes of `owner`.

        Args:
            owner: The module, on the meta device.
            name: Name of one of its tensors with an expert axis, or of its list of experts.
        """

    @classmethod
    def path_of(cls, owner_path: str) -> str:
        """Name of the experts module, from the name of the module that owns their tensors."""
        return owner_path

    @abstractmethod
    def restrict(self, kept: Sequence[int], undo: ExitStack) -> None:
        """Make the experts take what a router that sees only `kept` gives them.

        Args:
            kept: Experts that stay, by their index now, ascending.
            undo: Gets what undoes it; closing it brings the block back.
        """

    @abstractmethod
    def observe(self, record: Record, undo: ExitStack) -> None:
        """Report the routes of each call of the experts.

        What was seen of a call that fails may remain: after a failure the observer closes `undo` and calls this again.

        Args:
            record: Called with the [`Routes`] of each call.
            undo: Gets what ends it.
        """

    def weigh(self, factors: torch.Tensor, undo: ExitStack) -> None:
        """Multiply what each expert adds to the hidden state by a factor, as if its gate weights were so much larger.

        The router chooses as before. A gradient reaches the factors wherever it reaches what the experts add.

        Args:
            factors: Shape (experts,), on any device.
            undo: Gets what ends it.

        Raises:
            ValueError: This adapter has no way to do so.
        """
        raise ValueError(
            f"{type(self).__name__}, the adapter of {self.path}, cannot weigh single experts: give it a method "
            "`weigh`, as MoEBlock describes it, or choose a strategy that trains no keep logits, such as guided."
        )

    @property
    def num_experts(self) -> int:
        """Routed experts in the block now."""
        return self.expert_parts[0].num_experts

    @property
    def parts(self) -> list[ExpertTensor | ExpertList]:
        """Everything that has one entry per expert."""
        return [*self.expert_parts, *self.router_tensors]

    def slice_virtually(self, kept: Sequence[int], undo: ExitStack) -> None:
        """Behave as if only `kept` were there, with the expert weights left in place.

        Args:
            kept: Experts that stay, by their index now, ascending.
            undo: Gets what undoes it; closing it brings the block back.
        """
        # The undo of each step is registered before the step, so that an interrupt between the two does no harm.
        for tensor in self.router_tensors:
            undo.callback(tensor.replace, tensor.value)
            tensor.replace(tensor.selected(kept))
        for count in self.router_counts:
            undo.callback(count.set_experts, self.num_experts)
            count.set_experts(len(kept))
        self.restrict(kept, undo)

    def remove_all_but(self, kept: Sequence[int]) -> None:
        """Really remove the other experts."""
        for part in self.parts:
            part.replace(part.selected(kept))  # type: ignore[arg-type]
        for count in (*self.expert_counts, *self.router_counts):
            count.set_experts(len(kept))


ADAPTERS: list[type[MoEBlock]] = []


def register_adapter(adapter: type[MoEBlock]) -> type[MoEBlock]:
    """Add a way in which models call their experts; of those that claim a block the latest is used.

    Args:
        adapter: A subclass of [`MoEBlock`].

    Raises:
        TypeError: `adapter` is not a subclass of it.
    """
    if not (isinstance(adapter, type) and issubclass(adapter, MoEBlock)):
        raise TypeError(f"An adapter is a subclass of MoEBlock, not {adapter!r}.")
    ADAPTERS.insert(0, adapter)
    return adapter


@contextmanager
def pre_hook(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    """A forward pre-hook with keyword arguments for as long as the context is open.

    Args:
        module: The module whose calls it sees.
        hook: Called with module, args and kwargs; returns new args and kwargs, or `None`.
    """
    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def post_hook(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    """A forward hook for as long as the context is open.

    Args:
        module: The module whose calls it sees.
        hook: Called with module, args and output; returns a new output, or `None`.
    """
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
