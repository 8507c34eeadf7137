# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`ExpertsCall`]: hidden states, expert indices and gate weights in the arguments of a call, whatever their order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class ExpertsCall:
    """The arguments of one call of an experts module, whatever their order and names.

    The expert indices are the integer tensor, the gate weights the floating one of the same shape.

    Attributes:
        args: The positional arguments.
        kwargs: The keyword arguments.

    Raises:
        ValueError: There are no such tensors.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __post_init__(self):
        places = list(self._places())
        integers = [(p, v) for p, v in places if not v.is_floating_point() and v.dtype != torch.bool]
        floating = [(p, v) for p, v in places if v.is_floating_point()]
        for indices_place, indices in integers:
            for weights_place, weights in floating[1:]:
                if weights.shape == indices.shape:
                    self._indices_place, self._weights_place = indices_place, weights_place
                    self._hidden_place = floating[0][0]
                    return
        raise ValueError("The experts are not called with hidden states, expert indices and gate weights.")

    def _places(self) -> Iterator[tuple[int | str, torch.Tensor]]:
        yield from ((i, v) for i, v in enumerate(self.args) if isinstance(v, torch.Tensor))
        yield from ((k, v) for k, v in self.kwargs.items() if isinstance(v, torch.Tensor))

    def _get(self, place: int | str) -> torch.Tensor:
        return self.args[place] if isinstance(place, int) else self.kwargs[place]

    @property
    def hidden(self) -> torch.Tensor:
        """Hidden states, shape (tokens, hidden size) or (batch, tokens, hidden size)."""
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
        """The arguments of the same call with other tensors in their places.

        Args:
            indices: Expert of each route, shape (tokens, top-k).
            hidden: Hidden states, shape (tokens, hidden size); `None` leaves those of the call.
            weights: Gate weights, of the shape of `indices`; `None` leaves those of the call.
        """
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
