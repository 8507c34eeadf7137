# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The guard: what was found is compared with the uniform allocation on windows that the search never saw."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ..configuration import EvoESAPConfig
from ..fitness.window_scores import WindowScores
from ..models.progress_bar import ProgressBar
from .board import ScoreBoard
from .candidate import Candidate
from .comparison import paired_interval


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """How a candidate compares with the uniform allocation on held-out windows.

    Attributes:
        best: Scores of the candidate.
        uniform: Scores of the uniform allocation.
        interval: Paired 95% bootstrap interval of the difference of their means, or of those of their worst domains;
            `None` where one window is too few for it.
    """

    best: WindowScores
    uniform: WindowScores
    interval: tuple[float, float] | None

    @property
    def values(self) -> dict[str, float]:
        """Both scores and the ends of the interval, by name."""
        ends = {} if self.interval is None else dict(zip(("gain_low", "gain_high"), self.interval))
        return {"best": self.best.value, "uniform": self.uniform.value, **ends}

    @property
    def beats_uniform(self) -> bool:
        """Whether the whole interval lies above zero; where there is none, whether the score is higher."""
        return self.best.value > self.uniform.value if self.interval is None else self.interval[0] > 0


def compare_with_uniform(
    board: ScoreBoard,
    best: Candidate,
    uniform: Candidate,
    config: EvoESAPConfig,
    domains: Sequence[str] = (),
    progress: bool = True,
) -> Verdict:
    """Compare a candidate with the uniform allocation, and say so where it is not better.

    Args:
        board: Scores on the held-out windows, and keeps the scores.
        best: The candidate.
        uniform: That of the uniform allocation.
        config: Says where the candidate comes from, and the seed of the draws.
        domains: Domain of each window, where the worst of them is what counts.
        progress: Show a progress bar.
    """
    both = list(dict.fromkeys((best, uniform)))
    found: dict[Candidate, WindowScores] = {}
    num_windows = board.scorer.num_windows
    with ProgressBar("held-out", len(both) * num_windows, "window", progress) as bar:
        for candidate in both:
            (scores,) = board.score([candidate])
            found[candidate] = scores.by_worst(domains)
            bar.show(**{name: found[one].value for name, one in zip(("best", "uniform"), found)})
            bar.advance(num_windows)
    board.save()
    scores, others = found[best], found[uniform]
    verdict = Verdict(scores, others, paired_interval(scores, others, config.seed))
    between = "one window is too few for an interval"
    if verdict.interval is not None:
        between = "difference between {:+.4f} and {:+.4f} (95%)".format(*verdict.interval)
    if not verdict.beats_uniform and (config.is_searched or best != uniform):
        logger.warning(
            "The allocation %s%s does not beat the uniform one on held-out windows: %s %.4f against %.4f%s, %s.%s",
            "given" if config.is_explicit else "found",
            "" if config.sparsity is None else f" at sparsity {config.sparsity:g}",
            config.fitness,
            scores.value,
            others.value,
            " in the worst domain" if domains else "",
            between,
            " The uniform one is taken (guard=False takes the one found)." if _is_guarded(config) else "",
        )
    return verdict


def compare_by_domain(verdict: Verdict, domains: Sequence[str], seed: int) -> dict[str, Verdict]:
    """The same comparison in each domain that has scored positions; none where there is only one domain.

    Args:
        verdict: That over all held-out windows.
        domains: Domain of each of them.
        seed: Of the draws.
    """
    names = dict.fromkeys(domains) if len(set(domains)) > 1 else ()
    verdicts = {}
    for name in names:
        best, uniform = (scores.of_domain(domains, name) for scores in (verdict.best, verdict.uniform))
        if any(best.counts):
            verdicts[name] = Verdict(best, uniform, paired_interval(best, uniform, seed))
    return verdicts


def choose(best: Candidate, uniform: Candidate, verdict: Verdict | None, config: EvoESAPConfig) -> Candidate:
    """What the run returns: the uniform allocation where the one that was searched does not beat it.

    Args:
        best: What was found or given.
        uniform: The uniform allocation.
        verdict: How they compare on held-out windows; `None` where there are none.
        config: Whether it was searched, and whether the guard is on.
    """
    return uniform if verdict and not verdict.beats_uniform and _is_guarded(config) else best


def _is_guarded(config: EvoESAPConfig) -> bool:
    return config.guard and config.is_searched
