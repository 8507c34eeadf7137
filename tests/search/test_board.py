# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The scores of candidates on the first windows: what is known is not scored again, and is the same in the end."""

from __future__ import annotations

import pytest

from optimum_evoesap.run.state import RunState
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.board import ScoreBoard
from optimum_evoesap.search.candidate import Candidate
from optimum_evoesap.search.told_scores import ToldScores
from tests.search.searches import Scorer


SPACE = AllocationSpace.from_limits([4, 4], [1, 1], 2)
ONE, OTHER, THIRD = (
    Candidate(((0, kept), (1, other)))
    for kept, other in (((0, 1), (0, 1, 2, 3)), ((0, 1, 2), (1, 2, 3)), ((0, 1, 2, 3), (2, 3)))
)


class InTwos(Scorer):
    """Its batches have two windows; it notes which candidates are scored together, and where."""

    def __init__(self):
        super().__init__(SPACE, lambda each: [len(each[0]) + window / 8 for window in range(8)], 8, of_candidate=True)
        self.together = []

    def whole_batches(self, num_windows):
        return 8 if num_windows is None else min(8, -(-num_windows // 2) * 2)

    def score_each(self, candidates, scored, first=0, stop=None, skip=()):
        self.together.append((tuple(candidates), first, stop, tuple(sorted(skip))))
        super().score_each(candidates, scored, first, stop, skip)


def test_windows_are_added_to_those_that_are_known():
    scorer = InTwos()
    board = ScoreBoard(scorer, ToldScores())
    assert board.num_new([ONE, OTHER], 3) == 8, "three windows are two batches of two"
    few = board.score([ONE, OTHER], 3)
    assert [each.sums for each in few] == [(2.0, 2.125, 2.25, 2.375), (3.0, 3.125, 3.25, 3.375)]
    assert board.num_new([ONE, OTHER], 3) == board.num_new([ONE], 1) == 0
    assert board.num_new([ONE, THIRD]) == 4 + 8
    (one, third) = board.score([ONE, THIRD])
    assert len(one) == len(third) == 8 and one.first(4) == few[0]
    assert board.score([OTHER], 1)[0].sums == (3.0, 3.125), "no more than was asked for"
    assert board.num_new([OTHER]) == 4
    # Those that begin at the same window are scored together.
    assert scorer.together == [
        ((ONE, OTHER), 0, 4, ()), ((THIRD,), 0, 8, ()), ((ONE,), 4, 8, ()),
    ]  # fmt: skip


def test_a_candidate_that_is_asked_for_twice_is_scored_once():
    scorer = InTwos()
    scores = ScoreBoard(scorer, ToldScores()).score([ONE, OTHER, ONE])
    assert scores[0] == scores[2] and scorer.together == [((ONE, OTHER), 0, 8, ())]


def test_a_run_that_goes_on_scores_the_same_ones_together(tmp_path, keeps_rounds):
    """Known ones are named all the same: which share a batch decides how sums are rounded."""

    def asked(board):
        board.score([ONE, OTHER], 2)
        return board.score([OTHER, THIRD])

    first, again = InTwos(), InTwos()
    with RunState(tmp_path) as state:
        found = asked(ScoreBoard(first, ToldScores(state, "key")))
    with RunState(tmp_path) as state:
        board = ScoreBoard(again, ToldScores(state, "key"))
        assert board.num_new([ONE, OTHER]) == 16, "what this run has not asked for counts, known or not"
        assert asked(board) == found
    assert [each[:3] for each in again.together] == [each[:3] for each in first.together]
    assert again.passes == [] and [each[3] for each in again.together] == [(0, 1), (0,), (0,)]


def test_what_was_scored_before_a_failure_is_kept(tmp_path):
    scorer = InTwos()

    def stop(count):
        raise KeyboardInterrupt

    with RunState(tmp_path) as state:
        board = ScoreBoard(scorer, ToldScores(state, "key"))
        with pytest.raises(KeyboardInterrupt):
            board.score([ONE, OTHER], 4, stop)
        assert board.num_new([ONE], 4) == 4, "the round is not complete"
    with RunState(tmp_path) as state:
        told = ToldScores(state, "key")
    assert told.num_windows(ONE) == 4 and told.num_windows(OTHER) == 0
