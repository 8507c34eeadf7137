# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`Unfinished`]: long work over many batches, kept from time to time, so that a killed run goes on inside of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch


# Tensors by name, and JSON values by name: all that the rest of the work needs to come to the same bits.
Part = tuple[dict[str, torch.Tensor], dict[str, Any]]


Content = TypeVar("Content")


class Unfinished(Protocol):
    """Where one piece of work is kept that is not finished."""

    def found(self, read: Callable[[Part], Content]) -> Content | None:
        """What an earlier run has left of this very work; `None` where there is nothing, or it cannot be read.

        Args:
            read: Makes of it what the work goes on with.
        """

    def keep(self, make: Callable[[], Part]) -> None:
        """Keep how far the work is, where it is time.

        Args:
            make: Makes it; called only where it is kept.
        """


@dataclass(frozen=True)
class NotKept:
    """Work of which nothing is kept."""

    def found(self, read: Callable[[Part], Content]) -> Content | None:
        """Nothing.

        Args:
            read: Not called.
        """
        return None

    def keep(self, make: Callable[[], Part]) -> None:
        """Keep nothing.

        Args:
            make: Not called.
        """


NOT_KEPT = NotKept()
