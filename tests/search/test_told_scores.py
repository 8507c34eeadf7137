# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The scores of candidates as a run keeps them on the disk."""

from __future__ import annotations

import pytest

from optimum_evoesap.fitness.window_scores import WindowScores
from optimum_evoesap.run.state import RunState
from optimum_evoesap.search.candidate import Candidate
from optimum_evoesap.search.told_scores import ToldScores


def test_scores_are_kept_piece_by_piece_and_a_damaged_piece_is_left(tmp_path, caplog):
    candidates = [Candidate(((0, (0, 2, 70)), (3, (1,)))), Candidate(((0, (1,)), (3, (0, 1))))]
    scores = [WindowScores((0.1, 1 / 3), (3, 5)), WindowScores((0.2, 2e-300), (3, 5))]
    with RunState(tmp_path) as state:
        told = ToldScores(state, "key")
        for candidate, each in zip(candidates, scores):
            told.add(candidate, each)
            told.save(batch_size=4)
    with RunState(tmp_path) as state:
        again = ToldScores(state, "key")
        assert [again[candidate] for candidate in candidates] == scores and again.batch_size == 4
        assert all(candidate not in ToldScores(state, "other key") for candidate in candidates)
    first = tmp_path / ".evoesap" / "search-000000.json"
    first.write_text(first.read_text().replace("batch_size", "other"))
    with RunState(tmp_path) as state:
        left = ToldScores(state, "key")
        assert candidates[0] not in left and left[candidates[1]] == scores[1]
    assert "that work is done again" in caplog.text


def test_windows_behind_a_damaged_piece_are_scored_again(tmp_path):
    candidate = Candidate(((0, (0, 2)),))
    with RunState(tmp_path) as state:
        told = ToldScores(state, "key")
        for first in (0, 1):
            told.add(candidate, WindowScores((0.5,), (2,)), first)
            told.save(batch_size=4)
    (tmp_path / ".evoesap" / "search-000000.json").write_text("{")
    with RunState(tmp_path) as state:
        assert candidate not in ToldScores(state, "key")
        with pytest.raises(ValueError, match="from window 1 on"):
            ToldScores(state, "key").add(candidate, WindowScores((0.5,), (2,)), 1)


def test_what_scores_took_is_told_once_and_only_of_those_that_are_asked_for(tmp_path):
    """So that of several searches in one state each counts its own time."""
    one, other, together = (Candidate(((0, (0, kept)),)) for kept in (1, 2, 3))
    with RunState(tmp_path) as state:
        told = ToldScores(state, "key")
        for candidates, seconds in (([one], 1.5), ([other, together], 4.0), ([one], 0.25)):
            for candidate in candidates:
                told.add(candidate, WindowScores((0.5,), (2,)), told.num_windows(candidate))
            told.save(batch_size=4, seconds=seconds)
        assert told.seconds_of([one, other]) == 0.0, "its own time is on the clock"
    with RunState(tmp_path) as state:
        told = ToldScores(state, "key")
        assert told.seconds_of([one]) == 1.75 and told.seconds_of([one]) == 0.0
        assert told.seconds_of([together]) == 4.0 and told.seconds_of([other, one]) == 0.0
