# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Find what goes: by the strategy of a run on the search data, then compared on held-out data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..calibration.criteria import PruningOrder
from ..configuration import EvoESAPConfig
from ..fitness.slices import SliceScorer
from ..fitness.window_scores import WindowScores
from ..models.batching import Batch, batch_size_for
from ..models.sparse_model import SparseModel
from .allocation import AllocationSpace
from .board import ScoreBoard
from .candidate import Candidate
from .guard import Verdict, choose, compare_by_domain, compare_with_uniform
from .limits import Limits
from .loop import Report, run_search
from .planning import fixed_allocation
from .rounds import CALIBRATION, HELD_OUT, SEARCH
from .strategies import STRATEGIES, FixedAllocation, Racing, Strategy
from .told_scores import ToldScores
from .trainer import Trainer, TrainingData, make_trainer


logger = logging.getLogger(__name__)


@dataclass
class SearchData:
    """The batches of a search.

    Attributes:
        search: On which candidates are scored; may be empty where the allocation is given.
        holdout: Which the search never sees; may be empty.
        calibration: On which a strategy may measure the order of experts again; by default those of the search.
        search_domains: Domain of each search window, where the data are a mixture; otherwise empty.
        holdout_domains: The same of the held-out windows.
        training: What keep logits are trained on; by default the search windows.
    """

    search: Sequence[Batch] = ()
    holdout: Sequence[Batch] = ()
    calibration: Sequence[Batch] = ()
    search_domains: Sequence[str] = ()
    holdout_domains: Sequence[str] = ()
    training: TrainingData | None = None


@dataclass
class SearchOutcome:
    """What was found.

    Attributes:
        best: The candidate that the run returns.
        scores: `best` and `uniform` on the search data, `holdout_best` and `holdout_uniform` on held-out ones; where
            the guard took the uniform one, `found` and `holdout_found` of what it did not take.
        interval: Paired 95% interval of `holdout_best`, or of `holdout_found`, over `holdout_uniform`; `None` where
            nothing is held out, or one window alone.
        beats_uniform: Whether that one beats the uniform one there; `None` where nothing is held out.
        domains: The same comparison in each domain of the held-out windows, where they are of several.
        stopped_because: Why the search stopped; empty where nothing was searched.
        history: One entry a round of the strategy.
    """

    best: Candidate
    scores: dict[str, WindowScores] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    beats_uniform: bool | None = None
    domains: dict[str, Verdict] = field(default_factory=dict)
    stopped_because: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_guarded(self) -> bool:
        """Whether something was found that does not beat the uniform allocation, which is `best` then."""
        return "found" in self.scores

    @property
    def means(self) -> dict[str, float]:
        """Mean of the scores over all scored positions, by name."""
        return {name: scores.mean for name, scores in self.scores.items()}


def find_allocation(
    sparse_model: SparseModel,
    order: PruningOrder,
    space: AllocationSpace,
    config: EvoESAPConfig,
    data: SearchData,
    told: Mapping[str, ToldScores] | None = None,
    report: Report = lambda values: None,
) -> SearchOutcome:
    """Search `space`, then compare with the uniform allocation on held-out batches.

    Args:
        sparse_model: The unpruned model: the teacher, and under a virtual slice every candidate.
        order: Which experts of a layer go first.
        space: The allowed allocations.
        config: Strategy, fitness, sizes and seed; an allocation that it gives is scored only.
        data: The batches.
        told: For each kind of data, keeps the scores, and brings those of a killed run.
        report: Called after each round, and with the comparison on held-out batches.
    """
    return find_allocations(sparse_model, order, {space: config}, data, told, report)[space]


def find_allocations(
    sparse_model: SparseModel,
    order: PruningOrder,
    aims: Mapping[AllocationSpace, EvoESAPConfig],
    data: SearchData,
    told: Mapping[str, ToldScores] | None = None,
    report: Report = lambda values: None,
) -> dict[AllocationSpace, SearchOutcome]:
    """The same for several spaces, which share the teachers and all scores: no candidate is scored for two of them.

    Args:
        sparse_model: The unpruned model.
        order: Which experts of a layer go first.
        aims: The spaces, each with its configuration; these are alike but for how much goes.
        data: The batches.
        told: As in `find_allocation`.
        report: As in `find_allocation`; where there are several spaces, with the sparsity of each in the names.

    Returns:
        What was found in each space.
    """
    strategies = {space: make_strategy(order, space, config) for space, config in aims.items()}
    if not data.search:
        return {space: SearchOutcome(strategy.best) for space, strategy in strategies.items()}
    shared, told = next(iter(aims.values())), told or {}
    boards = _boards(sparse_model, shared, data, told)
    try:
        found = _search_all(sparse_model, strategies, aims, boards, data, report)
    finally:
        for board in boards.values():
            board.save()
    batch_size = boards[SEARCH].scorer.batch_size
    # Only the teacher of the held-out data is in memory then.
    for board in boards.values():
        board.scorer.forget()
    if data.holdout:
        known = told.get(HELD_OUT) or ToldScores()
        scorer = _scorer(sparse_model, shared, data.holdout, min(batch_size, known.batch_size or batch_size))
        board = ScoreBoard(scorer, known)
        for space, config in aims.items():
            given = (strategies[space], board, config, data.holdout_domains, _named(report, config, len(aims)))
            found[space] = _compare(found[space], *given)
    return found


def _search_all(
    sparse_model: SparseModel,
    strategies: Mapping[AllocationSpace, Strategy],
    aims: Mapping[AllocationSpace, EvoESAPConfig],
    boards: Mapping[str, ScoreBoard],
    data: SearchData,
    report: Report,
) -> dict[AllocationSpace, SearchOutcome]:
    found = {}
    for space, config in aims.items():
        if len(aims) > 1:
            logger.info("Removing %d of %d experts:", space.budget, sum(space.num_experts))
        strategy, trainer = strategies[space], None
        if strategy.trains:
            training = data.training or TrainingData(data.search)
            trainer = make_trainer(sparse_model, space, config.seed, training)
        found[space] = _search(strategy, boards, config, _named(report, config, len(aims)), trainer)
    return found


def _named(report: Report, config: EvoESAPConfig, num_aims: int) -> Report:
    if num_aims == 1:
        return report
    return lambda values: report({f"sparsity {config.sparsity:g}/{name}": value for name, value in values.items()})


def _search(
    strategy: Strategy,
    boards: Mapping[str, ScoreBoard],
    config: EvoESAPConfig,
    report: Report,
    trainer: Trainer | None,
) -> SearchOutcome:
    # An allocation that is given is scored whatever the limits of a search are.
    limits = Limits.of(config) if config.is_searched else None
    end = run_search(strategy, boards, limits, report=report, trainer=trainer)
    scores = {name: boards[SEARCH].told[one] for name, one in (("best", end.best), ("uniform", strategy.uniform))}
    reason = end.reason if config.is_searched else ""
    return SearchOutcome(end.best, scores, stopped_because=reason, history=strategy.history)


def _compare(
    found: SearchOutcome,
    strategy: Strategy,
    board: ScoreBoard,
    config: EvoESAPConfig,
    domains: Sequence[str],
    report: Report,
) -> SearchOutcome:
    """What was found, or the uniform allocation in its place, with the scores of both on the held-out windows."""
    counted = domains if config.goal == "worst" else ()
    verdict = compare_with_uniform(board, found.best, strategy.uniform, config, counted)
    report({f"held-out/{name}": value for name, value in verdict.values.items()})
    chosen = choose(found.best, strategy.uniform, verdict, config)
    scores = found.scores | _held_out(verdict, is_rejected=chosen != found.best)
    if chosen != found.best:
        scores |= {"found": scores["best"], "best": scores["uniform"]}
    by_domain = compare_by_domain(verdict, domains, config.seed)
    return replace(
        found,
        best=chosen,
        scores=scores,
        interval=verdict.interval,
        domains=by_domain,
        beats_uniform=verdict.beats_uniform,
    )


def make_strategy(order: PruningOrder, space: AllocationSpace, config: EvoESAPConfig) -> Strategy:
    """The strategy that a configuration names, or that of an allocation which it gives.

    Args:
        order: Which experts of a layer go first.
        space: The allowed allocations.
        config: The configuration.
    """
    fixed = fixed_allocation(config, space)
    if fixed is not None:
        return FixedAllocation(space, order, config, fixed)
    strategy = STRATEGIES[str(config.allocation)](space, order, config)
    races = strategy.races if config.racing is None else config.racing
    return Racing(strategy) if races else strategy


def _boards(
    sparse_model: SparseModel, config: EvoESAPConfig, data: SearchData, told: Mapping[str, ToldScores]
) -> dict[str, ScoreBoard]:
    boards = {}
    for kind, batches in ((SEARCH, data.search), (CALIBRATION, data.calibration)):
        known = told.get(kind) or ToldScores()
        if batches and (kind == SEARCH or config.is_searched):
            # The order of experts is measured on the calibration data as a whole.
            domains = data.search_domains if kind == SEARCH and config.goal == "worst" else ()
            boards[kind] = ScoreBoard(_scorer(sparse_model, config, batches, known.batch_size), known, domains)
    boards.setdefault(CALIBRATION, boards[SEARCH])
    return boards


def _scorer(
    sparse_model: SparseModel, config: EvoESAPConfig, batches: Sequence[Batch], batch_size: int | None
) -> SliceScorer:
    tokens = batches[0]["input_ids"]
    rows = batch_size_for(config.batch_size, tokens.shape[1], tokens.device)
    return SliceScorer(sparse_model, list(batches), config.fitness, config.seed, batch_size, rows)


def _held_out(verdict: Verdict, is_rejected: bool) -> dict[str, WindowScores]:
    scores = {"holdout_best": verdict.best, "holdout_uniform": verdict.uniform}
    if is_rejected:
        scores |= {"holdout_found": verdict.best, "holdout_best": verdict.uniform}
    return scores
