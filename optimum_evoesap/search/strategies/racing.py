# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Successive halving: many candidates on few windows, the better ones on more of them, the best on all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..candidate import Candidate
from ..comparison import difference
from ..rounds import SEARCH, KeepLogits, Round, as_round
from .stepped import SteppedStrategy, Steps
from .strategy import Strategy


if TYPE_CHECKING:
    from ...fitness.window_scores import WindowScores


@dataclass(frozen=True)
class Heat:
    """One stage of a race.

    Attributes:
        num_tokens: Text that the candidates of this stage are scored on, at least one window.
        share: Share of the candidates of the race that go on to the next stage.
    """

    num_tokens: int
    share: float

    def num_windows(self, sequence_length: int) -> int:
        """Windows that hold so much text.

        Args:
            sequence_length: Tokens in a window.
        """
        return max(1, math.ceil(self.num_tokens / sequence_length))


# Measured on trained models: a fifth to a third of the tokens of a whole generation, the best hardly ever lost.
HEATS = (Heat(1536, 0.35), Heat(4608, 0.15))
# In place of whole rounds of another strategy, which does not know that some scores are estimates. Measured with
# evolution on the bundled model, four seeds: .47 of the tokens for the same held-out scores.
ROUND_HEATS = (Heat(3072, 0.25),)
# Fewer candidates than this are not worth a race.
_FEWEST = 8


def race(
    candidates: Sequence[Candidate], sequence_length: int, heats: Sequence[Heat] = HEATS
) -> Steps[dict[Candidate, WindowScores]]:
    """Race candidates; all of a stage are compared on the same windows.

    Args:
        candidates: None twice.
        sequence_length: Tokens in a window.
        heats: The stages before the last one, in which those that are left are scored on all windows.

    Returns:
        The scores of those that were scored on all windows.
    """
    dropped = yield from _run_heats(candidates, sequence_length, heats)
    return (yield Round(tuple(one for one in candidates if one not in dropped)))


def _run_heats(
    candidates: Sequence[Candidate], sequence_length: int, heats: Sequence[Heat]
) -> Steps[dict[Candidate, WindowScores]]:
    """Those that drop out, with their scores on the windows seen."""
    dropped: dict[Candidate, WindowScores] = {}
    for heat in heats:
        left = [one for one in candidates if one not in dropped]
        keep = max(1, round(heat.share * len(candidates)))
        if len(left) <= keep:
            continue
        scores = yield Round(tuple(left), heat.num_windows(sequence_length))
        if not sum(scores[left[0]].counts):
            continue  # nothing is scored in these windows
        # Of equal ones those asked for first go on: sorting is stable.
        last = sorted(left, key=lambda one: -scores[one].value)[keep:]
        dropped |= {one: scores[one] for one in last}
    return dropped


class Racing(SteppedStrategy):
    """Runs another strategy, with a race in place of each of its rounds of many candidates on all search windows.

    The other strategy is told an estimate of those that drop out, and real scores of the others. Its best is never one
    that was only estimated. Rounds of few candidates, on other windows or data, or of other budgets (from which it
    learns, and which do not compete) are left as they are.

    Args:
        inner: The other strategy, before it was asked for anything.
    """

    def __init__(self, inner: Strategy):
        super().__init__(inner.space, inner.order, inner.options)
        self.inner = inner
        self.history, self.cost_range = inner.history, inner.cost_range
        self.trains = inner.trains
        # What those are worth that were scored on all windows.
        self._whole: dict[Candidate, float] = {}
        self._estimated: set[Candidate] = set()

    @property
    def best(self) -> Candidate:
        """That of the other strategy; where it was only estimated, the best of those scored on all windows."""
        best = self.inner.best
        if best in self._estimated:
            return max(self._whole, key=self._whole.__getitem__)
        return best

    @property
    def num_candidates(self) -> int:
        """Those of the other strategy, each as often as it is scored."""
        return round(self.inner.num_candidates * (1 + sum(heat.share for heat in ROUND_HEATS)))

    def expected_windows(self, available: Mapping[str, int]) -> int:
        """Those of the other strategy, of which many are raced on few windows.

        Args:
            available: Windows of each kind of data.
        """
        left, share = 1.0, 0.0
        for heat in ROUND_HEATS:
            share += left * min(1.0, heat.num_windows(self.options.sequence_length) / available[SEARCH])
            left = heat.share
        return round(self.inner.expected_windows(available) * min(1.0, share + left))

    def steps(self) -> Steps[None]:
        """Ask what the other strategy asks, and tell it the answers."""
        while not (asked := as_round(self.inner.ask())).is_empty:
            if isinstance(asked, KeepLogits):
                self.inner.tell_logits((yield asked))
                continue
            scores = yield from (self._race(asked.candidates) if self._is_race(asked) else self._pass_on(asked))
            for candidate in asked.candidates:
                self.inner.tell(candidate, scores[candidate])
            self.history = self.inner.history

    def _is_race(self, asked: Round) -> bool:
        if asked.data != SEARCH or asked.num_windows is not None or len(self._racers(asked.candidates)) < _FEWEST:
            return False
        return all(sum(one.removed(self.space.num_experts)) == self.space.budget for one in asked.candidates)

    def _racers(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that cost something: the uniform one is scored on all windows in any case."""
        return [one for one in candidates if one != self.uniform and one not in self._whole]

    def _pass_on(self, asked: Round) -> Steps[dict[Candidate, WindowScores]]:
        scores = yield asked
        if asked.data == SEARCH and asked.num_windows is None:
            self._note(scores)
        return scores

    def _race(self, candidates: Sequence[Candidate]) -> Steps[dict[Candidate, WindowScores]]:
        dropped = yield from _run_heats(self._racers(candidates), self.options.sequence_length, ROUND_HEATS)
        finalists = yield Round(tuple(one for one in candidates if one not in dropped))
        self._note(finalists)
        self._estimated |= dropped.keys()
        best = max(finalists.values(), key=lambda scores: scores.value)
        return finalists | {one: estimate(seen, best) for one, seen in dropped.items()}

    def _note(self, scores: dict[Candidate, WindowScores]) -> None:
        budget, totals = self.space.budget, self.space.num_experts
        self._whole |= {one: each.value for one, each in scores.items() if sum(one.removed(totals)) == budget}
        self._estimated -= scores.keys()


def estimate(seen: WindowScores, whole: WindowScores) -> WindowScores:
    """What a candidate would score on all windows, from what it scored on the first ones.

    On the others it scores what another one does, plus the mean difference of the two on the windows that both saw:
    what is common to the windows drops out. Where domains are told apart, that of each domain as far as it was seen.

    Args:
        seen: Scores on the first windows.
        whole: Scores of another candidate on all windows.
    """
    number = len(seen)
    domains = whole.domains or ("",) * len(whole)
    lead = difference(replace(seen, domains=()), replace(whole, domains=())).mean
    leads = {each: _lead_in(each, domains, seen, whole, lead) for each in dict.fromkeys(domains)}
    rest = zip(whole.sums[number:], whole.counts[number:], domains[number:])
    return replace(whole, sums=seen.sums + tuple(other + leads[domain] * count for other, count, domain in rest))


def _lead_in(domain: str, domains: Sequence[str], seen: WindowScores, whole: WindowScores, otherwise: float) -> float:
    one, other = (each.of_domain(domains, domain) for each in (seen, whole))
    return difference(one, other).mean if any(one.counts) else otherwise
