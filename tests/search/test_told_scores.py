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
