# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The loop of a search: it asks the strategy, has the candidates scored, and shows how far it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tqdm.auto import tqdm

from .board import ScoreBoard
from .candidate import Candidate, check_candidate
from .limits import LimitReached, Limits
from .rounds import SEARCH, Round, as_round
from .strategies import Strategy


@dataclass(frozen=True)
class SearchEnd:
    """How a search ended.

    Attributes:
        best: The best candidate.
        reason: Why it stopped.
    """

    best: Candidate
    reason: str


def run_search(
    strategy: Strategy, boards: Mapping[str, ScoreBoard], limits: Limits | None = None, progress: bool = True
) -> SearchEnd:
    """Let a strategy ask until it is done. The uniform allocation and the best are scored on all windows in any case.

    Args:
        strategy: Asks for candidates and is told their scores.
        boards: Scores on each kind of data that a round may name.
        limits: When to stop though the strategy is not done. The best is then its best so far, or one of the round
            that was broken off, where that has scores on all windows already and is better.
        progress: Show a progress bar.

    Raises:
        ValueError: The strategy asks for a candidate that its space does not allow, or for unknown data.
    """
    board, limits = boards[SEARCH], limits or Limits()
    asked, best, reason = Round(()), strategy.uniform, "the strategy has no more to ask"
    with tqdm(total=strategy.num_candidates, desc="search", unit="candidate", disable=not progress) as bar:
        limits.spend(board.num_new([strategy.uniform]) / board.scorer.num_windows)
        (uniform,) = board.score([strategy.uniform])
        highest = uniform.value
        try:
            while (asked := as_round(strategy.ask())).candidates:
                rivals = _new_rivals(asked, board, strategy)
                _answer(strategy, asked, boards, limits, bar)
                best, asked = strategy.best, Round(())
                _check(best, strategy)
                if best in board.told:
                    means = {"best": board.told[best].mean, "uniform": uniform.mean}
                    bar.set_postfix({name: f"{mean:.4f}" for name, mean in means.items()})
                highest = _end_round(rivals, highest, board, limits)
        except LimitReached as reached:
            reason = str(reached)
            best = _better(best, asked.candidates, board, strategy)
        else:
            best = strategy.best  # also of one that never asked
        _check(best, strategy)
        board.score([best])
    return SearchEnd(best, reason)


def _answer(strategy: Strategy, asked: Round, boards: Mapping[str, ScoreBoard], limits: Limits, bar: tqdm) -> None:
    if asked.data not in boards:
        raise ValueError(
            f"The strategy {type(strategy).__name__} asks for scores on {asked.data!r} data; there are "
            f"{', '.join(boards)} data."
        )
    for candidate in asked.candidates:
        _check(candidate, strategy, any_budget=True)
    board = boards[asked.data]
    limits.spend(board.num_new(asked.candidates, asked.num_windows) / boards[SEARCH].scorer.num_windows)
    if not board.are_known(asked.candidates, asked.num_windows):
        limits.check_time()  # a run that goes on gets as far as it was, whatever the time

    def after(count: int) -> None:
        bar.update(count)
        limits.check_time()

    for candidate, scores in zip(asked.candidates, board.score(asked.candidates, asked.num_windows, after)):
        strategy.tell(candidate, scores)


def _new_rivals(asked: Round, board: ScoreBoard, strategy: Strategy) -> list[Candidate]:
    """Those of a round that could become the best: of the budget, on search data, without scores on all until now."""
    if asked.data != SEARCH:
        return []
    return [one for one in asked.candidates if _is_of_budget(one, strategy) and board.num_new([one])]


def _end_round(rivals: Sequence[Candidate], highest: float, board: ScoreBoard, limits: Limits) -> float:
    """The highest value so far, after a round; one that brought no new scores on all search windows does not count."""
    values = [value for one in rivals if not board.num_new([one]) and (value := board.value(one)) is not None]
    if values:
        limits.end_round(max(values) > highest)
    return max([highest, *values])


def _better(best: Candidate, candidates: Sequence[Candidate], board: ScoreBoard, strategy: Strategy) -> Candidate:
    """The best of a strategy, or what is better among the candidates of a round that it was not told the scores of."""
    values = {one: board.value(one) for one in (best, *candidates) if one == best or _is_of_budget(one, strategy)}
    if values[best] is None:
        return best
    return max(values, key=lambda one: -math.inf if (value := values[one]) is None else value)


def _is_of_budget(candidate: Candidate, strategy: Strategy) -> bool:
    return sum(candidate.removed(strategy.space.num_experts)) == strategy.space.budget


def _check(candidate: Candidate, strategy: Strategy, any_budget: bool = False) -> None:
    try:
        check_candidate(candidate, strategy.space, any_budget)
    except ValueError as error:
        raise ValueError(f"The strategy {type(strategy).__name__} asks for a wrong candidate: {error}") from error
