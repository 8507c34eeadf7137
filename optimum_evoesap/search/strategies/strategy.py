# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`Strategy`]: it asks for the scores of candidates, is told them, and asks again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...options import EvoESAPOptions
from ...registry import STRATEGIES, make_register
from ..allocation import Allocation, AllocationSpace
from ..candidate import Candidate
from ..keep_logits.logits import Logits
from ..rounds import SEARCH, KeepLogits, Round


if TYPE_CHECKING:
    from ...calibration.criteria import PruningOrder
    from ...fitness.window_scores import WindowScores

_register = make_register(STRATEGIES, "strategy")


def register_strategy(name: str) -> Callable[[type[Strategy]], type[Strategy]]:
    """Register a strategy: decorate its class, a [`Strategy`], with `@register_strategy("name")`.

    Args:
        name: The name by which `EvoESAPConfig(allocation=name)` then finds it.

    Returns:
        The decorator; it returns the class unchanged.

    Raises:
        ValueError: The name is empty or `"uniform"`, or the decorator finds that another class has it.
        TypeError: The decorator finds that what it decorates is no [`Strategy`].
    """
    if name == "uniform":
        raise ValueError('The allocation "uniform" is not searched; choose another name for a strategy.')

    def add(strategy: type[Strategy]) -> type[Strategy]:
        if not (isinstance(strategy, type) and issubclass(strategy, Strategy)):
            raise TypeError(f"A strategy is a subclass of Strategy, not {strategy!r}.")
        return _register(name)(strategy)

    return add


class Strategy(ABC):
    """Decides which candidates are tried; the loop scores them, keeps what they scored, and shows how far it is.

    All that a strategy does follows from its options and from what it was told, in order. So a run that goes on
    asks a new one, tells it what is known already, and is where it was.

    Args:
        space: The allowed allocations.
        order: Which experts of a layer go first.
        options: Sizes and seed of the search.

    Attributes:
        uniform: The candidate of the uniform allocation.
        history: One entry a round, such as a generation.
        races: Whether its rounds of many candidates are races where the configuration does not say.
        cost_range: The least and the most that it mostly costs, as a share of `expected_windows` that run through all
            layers; less than 1 where it stops early, or where candidates start at the layer in which they differ.
        trains: Whether it asks for [`KeepLogits`], for which gradients must go through the model.
    """

    races: bool = False
    cost_range: tuple[float, float] = (0.5, 1.0)
    trains: bool = False

    def __init__(self, space: AllocationSpace, order: PruningOrder, options: EvoESAPOptions):
        self.space = space
        self.order = order
        self.options = options
        self.uniform = self.candidate(space.uniform())
        self.history: list[dict[str, Any]] = []

    @abstractmethod
    def ask(self) -> Round | KeepLogits | Sequence[Candidate]:
        """The candidates whose scores are needed now, none twice; empty when the search is done.

        Candidates alone are scored on all windows of the search data; a [`Round`] says on how many, and of which data.
        [`KeepLogits`] are trained, and told by `tell_logits`.
        """

    @abstractmethod
    def tell(self, candidate: Candidate, scores: WindowScores) -> None:
        """Take the scores of a candidate; those of one `ask` come in its order.

        Args:
            candidate: One that was asked for.
            scores: What it scored on each window.
        """

    def tell_logits(self, logits: Logits) -> None:
        """Take the keep logits that were asked for.

        Args:
            logits: For each sparse layer a number for each expert, the higher the later it goes.

        Raises:
            TypeError: The strategy asks for them and has no such method.
        """
        raise TypeError(f"{type(self).__name__} asks for keep logits: give it a method `tell_logits` that takes them.")

    @property
    @abstractmethod
    def best(self) -> Candidate:
        """The best candidate so far."""

    @property
    @abstractmethod
    def num_candidates(self) -> int:
        """About how many candidates will be asked for in all."""

    def expected_windows(self, available: Mapping[str, int]) -> int:
        """About how many windows of text candidates will be scored on, summed over the candidates.

        What a bar shows, and what an estimate rests on; a strategy that asks for fewer windows than there are, or for
        other data, knows better than this.

        Args:
            available: Windows of each kind of data that a round may name, `search` and `calibration`.
        """
        return self.num_candidates * available[SEARCH]

    def candidate(self, allocation: Allocation) -> Candidate:
        """The candidate that loses so many experts of each sparse layer, in pruning order."""
        return Candidate.from_order(self.order, dict(zip(self.space.layers, allocation)))
