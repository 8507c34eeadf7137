# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The loop of a search: it asks the strategy, has the candidates scored, and shows how far it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..models.progress_bar import ProgressBar
from .board import ScoreBoard
from .candidate import Candidate, check_candidate
from .limits import LimitReached, Limits
from .rounds import SEARCH, KeepLogits, Round, as_round
from .strategies import Strategy
from .trainer import Trainer


@dataclass(frozen=True)
class SearchEnd:
    """How a search ended.

    Attributes:
        best: The best candidate.
        reason: Why it stopped.
    """

    best: Candidate
    reason: str


# Called with what a bar or a tracker may want to show.
Report = Callable[[dict[str, Any]], None]


def run_search(
    strategy: Strategy,
    boards: Mapping[str, ScoreBoard],
    limits: Limits | None = None,
    progress: bool = True,
    report: Report = lambda values: None,
    trainer: Trainer | None = None,
) -> SearchEnd:
    """Let a strategy ask until it is done. The uniform allocation and the best are scored on all windows in any case.

    Args:
        strategy: Asks for candidates and is told their scores.
        boards: Scores on each kind of data that a round may name.
        limits: When to stop though the strategy is not done. The best is then its best so far, or one of the round
            that was broken off, where that has scores on all windows already and is better.
        progress: Show a progress bar.
        report: Called after each round.
        trainer: Trains keep logits for a strategy that asks for them.

    Raises:
        ValueError: The strategy asks for a candidate that its space does not allow, for unknown data, or for keep
            logits where there is nothing to train them with.
    """
    board, limits = boards[SEARCH], limits or Limits()
    best, reason = strategy.uniform, "the strategy has no more to ask"
    broken_off: Sequence[Candidate] = ()
    expected = _expected_windows(strategy, boards, limits)
    with ProgressBar("search", expected, "window", progress, limits.seconds) as bar:
        limits.spend(board.num_new([strategy.uniform]) / board.scorer.num_windows)
        limits.add_seconds(board.told.seconds_of([strategy.uniform]))
        (uniform,) = board.score([strategy.uniform])
        highest = uniform.value
        try:
            while not (asked := as_round(strategy.ask())).is_empty:
                rivals: list[Candidate] = []
                if isinstance(asked, KeepLogits):
                    _train(strategy, asked, trainer, boards, limits, bar)
                else:
                    broken_off, rivals = asked.candidates, _new_rivals(asked, board, strategy)
                    _answer(strategy, asked, boards, limits, bar)
                best, broken_off = strategy.best, ()
                _check(best, strategy)
                if (value := board.value(best)) is not None:
                    values = {"best": value, "uniform": uniform.value}
                    bar.show(**values)
                    report(_named(values, strategy, limits, bar))
                highest = _end_round(rivals, highest, board, limits)
        except LimitReached as reached:
            reason = str(reached)
            best = _better(best, broken_off, board, strategy)
        else:
            best = strategy.best  # also of one that never asked
        _check(best, strategy)
        board.score([best])
    return SearchEnd(best, reason)


def _named(values: dict[str, Any], strategy: Strategy, limits: Limits, bar: ProgressBar) -> dict[str, Any]:
    """Values after a round, as trackers show them: those of the search in one group."""
    values = values | {"evaluations": limits.evaluations, "seconds": bar.seconds}
    if strategy.history and "stage" in strategy.history[-1]:
        values["stage"] = strategy.history[-1]["stage"]
    return {f"search/{name}": value for name, value in values.items()}


def _answer(
    strategy: Strategy, asked: Round, boards: Mapping[str, ScoreBoard], limits: Limits, bar: ProgressBar
) -> None:
    if asked.data not in boards:
        raise ValueError(
            f"The strategy {type(strategy).__name__} asks for scores on {asked.data!r} data; there are "
            f"{', '.join(boards)} data."
        )
    for candidate in asked.candidates:
        _check(candidate, strategy, any_budget=True)
    board = boards[asked.data]
    new, before = board.num_new(asked.candidates, asked.num_windows), bar.done
    limits.spend(new / boards[SEARCH].scorer.num_windows)
    bar.expect_more(new)
    limits.add_seconds(board.told.seconds_of(asked.candidates))
    if not board.are_known(asked.candidates, asked.num_windows):
        limits.check_time()  # a run that goes on gets as far as it was, whatever the time

    def after(windows: int) -> None:
        bar.advance(windows)
        limits.check_time()

    for candidate, scores in zip(asked.candidates, board.score(asked.candidates, asked.num_windows, after)):
        strategy.tell(candidate, scores)
    bar.skip(before + new - bar.done)  # what an earlier run had scored


def _expected_windows(strategy: Strategy, boards: Mapping[str, ScoreBoard], limits: Limits) -> int:
    """About how many windows there are to score candidates on."""
    return limits.cut(
        strategy.expected_windows({kind: board.scorer.num_windows for kind, board in boards.items()}),
        boards[SEARCH].scorer.num_windows,
    )


def _train(
    strategy: Strategy,
    asked: KeepLogits,
    trainer: Trainer | None,
    boards: Mapping[str, ScoreBoard],
    limits: Limits,
    bar: ProgressBar,
) -> None:
    if trainer is None:
        raise ValueError(
            f"The strategy {type(strategy).__name__} asks for keep logits; to get them its class must say "
            "`trains = True`."
        )
    windows, before = trainer.num_windows(asked), bar.done
    limits.spend(windows / boards[SEARCH].scorer.num_windows)
    bar.expect_more(windows)

    def after(share: float) -> None:
        bar.advance(before + round(share * windows) - bar.done)
        limits.check_time()

    known_seconds = trainer.known_seconds(asked)
    limits.add_seconds(known_seconds or 0.0)
    if known_seconds is None:
        after(0.0)
    logits = trainer.train(asked, after)
    bar.skip(before + windows - bar.done)  # what an earlier run had trained
    strategy.tell_logits(logits)


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
