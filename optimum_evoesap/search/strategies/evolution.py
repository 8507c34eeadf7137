# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The evolutionary search of the allocation (EvoESAP, arXiv 2603.06003): elites, level-switch mutation, a budget."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tqdm.auto import tqdm

from ...options import EvoESAPOptions
from ..allocation import Allocation, AllocationSpace


@dataclass
class EvolutionResult:
    """The best allocation found, the uniform one, the score of every candidate, and one history entry a generation."""

    best: Allocation
    uniform: Allocation
    scores: dict[Allocation, float]
    history: list[dict] = field(default_factory=list)


def evolve(
    evaluate: Callable[[Allocation], float],
    space: AllocationSpace,
    options: EvoESAPOptions,
    known_scores: dict[Allocation, float] | None = None,
    on_generation: Callable[[EvolutionResult], None] | None = None,
    progress: bool = True,
) -> EvolutionResult:
    """Search the allocation with the highest score.

    Nothing but `options.seed` and the scores decides what is tried, so a run that is given the scores of an
    interrupted one walks the same way without evaluating them again, and ends in the same result.

    Args:
        evaluate: Score of an allocation, higher is better; called once for each.
        space: The allowed allocations.
        options: Sizes and seed of the search, under the names that [`EvoESAPConfig`] has for them.
        known_scores: Scores that need no evaluation.
        on_generation: Called with the result so far after each generation, to save it.
        progress: Show a progress bar.
    """
    generator = random.Random(options.seed)
    uniform = space.uniform()
    result = EvolutionResult(best=uniform, uniform=uniform, scores={})
    known = dict(known_scores or {})
    population = _first_population(space, options, generator)
    # The first population is the first generation: 50 generations of 32 with 4 elites score 32 + 49 x 28 candidates.
    total = options.population_size + (options.generations - 1) * (options.population_size - options.num_elites)
    with tqdm(total=max(total, len(population)), desc="search", unit="candidate", disable=not progress) as bar:
        for generation in range(options.generations):
            for candidate in population:
                if candidate not in result.scores:
                    score = known[candidate] if candidate in known else evaluate(candidate)
                    result.scores[candidate] = score
                    bar.update()
            # Among equal scores the one found first goes first: sorting is stable.
            elites = sorted(population, key=lambda item: -result.scores[item])[: options.num_elites]
            result.best = max(result.scores, key=result.scores.__getitem__)
            _record(result, generation, population)
            bar.set_postfix(best=f"{result.scores[result.best]:.4f}", uniform=f"{result.scores[uniform]:.4f}")
            if on_generation is not None:
                on_generation(result)
            population = elites + _children(space, options, generator, elites, result.scores)
    return result


def _record(result: EvolutionResult, generation: int, population: list[Allocation]) -> None:
    scores = [result.scores[candidate] for candidate in population]
    result.history.append(
        {
            "generation": generation,
            "best": result.scores[result.best],
            "uniform": result.scores[result.uniform],
            "mean": sum(scores) / len(scores),
            "candidates": len(result.scores),
            "allocation": list(result.best),
        }
    )


def _first_population(space: AllocationSpace, options: EvoESAPOptions, generator: random.Random) -> list[Allocation]:
    """The uniform allocation, plain shapes over depth, and random ones; no two alike where the space has enough."""
    population = list(dict.fromkeys([space.uniform(), *space.shapes()]))[: options.population_size]
    return _fill(population, options.population_size, lambda: space.random(generator), set(population))


def _children(
    space: AllocationSpace,
    options: EvoESAPOptions,
    generator: random.Random,
    elites: list[Allocation],
    seen: dict[Allocation, float],
) -> list[Allocation]:
    def child() -> Allocation:
        return space.mutate(generator.choice(elites), generator, options.max_delta, options.max_mutations)

    return _fill([], options.population_size - len(elites), child, set(seen))


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
