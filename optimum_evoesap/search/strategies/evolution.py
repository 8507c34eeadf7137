# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The evolutionary search of the allocation (EvoESAP, arXiv 2603.06003): elites, level-switch mutation, a budget."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...options import EvoESAPOptions
from ..allocation import Allocation, AllocationSpace
from ..candidate import Candidate
from .strategy import Strategy, register_strategy


if TYPE_CHECKING:
    from ...calibration.criteria import PruningOrder
    from ...fitness.window_scores import WindowScores


@register_strategy("evolution")
class Evolution(Strategy):
    """The paper's loop: the best of a generation go on, and so do mutations of them.

    Args:
        space: The allowed allocations.
        order: Which experts of a layer go first.
        options: Sizes and seed of the search.
    """

    cost_range = (0.8, 1.0)

    def __init__(self, space: AllocationSpace, order: PruningOrder, options: EvoESAPOptions):
        super().__init__(space, order, options)
        self._generator = random.Random(options.seed)
        self._scores: dict[Allocation, float] = {}
        self._asked: dict[Candidate, Allocation] = {}
        self._best = space.uniform()
        self._population = self._first_population()

    @property
    def best(self) -> Candidate:
        """The best candidate of the complete generations."""
        return self.candidate(self._best)

    @property
    def num_candidates(self) -> int:
        """The first population is the first generation: 50 of 32 with 4 elites score 32 + 49 x 28 candidates."""
        children = self.options.population_size - self.options.num_elites
        return self.options.population_size + (self.options.generations - 1) * children

    def ask(self) -> list[Candidate]:
        """Those of this generation that are new."""
        while len(self.history) < self.options.generations:
            new = [allocation for allocation in self._population if allocation not in self._scores]
            if new:
                self._asked = {self.candidate(allocation): allocation for allocation in new}
                return list(self._asked)
            self._end_generation()
        return []

    def tell(self, candidate: Candidate, scores: WindowScores) -> None:
        """Keep the value.

        Args:
            candidate: One of this generation.
            scores: What it scored on each window.
        """
        self._scores[self._asked.pop(candidate)] = scores.value
        if not self._asked:
            self._end_generation()

    def _end_generation(self) -> None:
        scores = self._scores
        # Among equal scores the one found first goes first: sorting is stable.
        elites = sorted(self._population, key=lambda item: -scores[item])[: self.options.num_elites]
        self._best = max(scores, key=scores.__getitem__)
        self.history.append(
            {
                "generation": len(self.history),
                "best": scores[self._best],
                "uniform": scores[self.space.uniform()],
                "mean": sum(scores[each] for each in self._population) / len(self._population),
                "candidates": len(scores),
                "allocation": list(self._best),
            }
        )
        self._population = elites + self._children(elites)

    def _first_population(self) -> list[Allocation]:
        """The uniform allocation, plain shapes over depth, and random ones; no two alike where there are enough."""
        size = self.options.population_size
        population = list(dict.fromkeys([self.space.uniform(), *self.space.shapes()]))[:size]
        return _fill(population, size, lambda: self.space.random(self._generator), set(population))

    def _children(self, elites: list[Allocation]) -> list[Allocation]:
        options, generator = self.options, self._generator

        def child() -> Allocation:
            return self.space.mutate(generator.choice(elites), generator, options.max_delta, options.max_mutations)

        return _fill([], options.population_size - len(elites), child, set(self._scores))


def _fill(
    population: list[Allocation], size: int, draw: Callable[[], Allocation], seen: set[Allocation]
) -> list[Allocation]:
    """Draw until there are `size` new candidates; a small or nearly exhausted space gives fewer."""
    for _ in range(20 * size):
        if len(population) >= size:
            break
        candidate = draw()
        if candidate not in seen:
            seen.add(candidate)
            population.append(candidate)
    return population
