# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a broken-off run says it has saved is what the next one finds."""

from __future__ import annotations

import json

import pytest

from optimum_evoesap.fitness.slices import SliceScorer
from optimum_evoesap.fitness.window_scores import WindowScores
from optimum_evoesap.run.saved_work import saved_work
from optimum_evoesap.run.state import RunState
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.candidate import Candidate
from optimum_evoesap.search.rounds import KeepLogits
from optimum_evoesap.search.told_logits import ToldLogits
from optimum_evoesap.search.told_scores import ToldScores
from tests.pruning import make_pruner, rows
from tests.run.broken_off import break_off, finish


pytestmark = pytest.mark.usefixtures("keeps_rounds")


def test_each_kind_is_named_with_its_number(tmp_path):
    out = tmp_path / "out"
    assert saved_work(out) == []
    pruner = break_off(out, criterion="esap")
    # The uniform allocation is one of the candidates of the first generation.
    number = pruner.history[-1]["candidates"]
    before, last = ["the statistics", "the experts of 3 layers by esap"], "2 scores on held-out data"
    assert saved_work(out) == [*before, f"{number} scores on search data", last]
    next((out / ".evoesap").glob("search-*.json")).write_text("{}")
    left = saved_work(out)
    assert left[:2] == before and left[-1] == last
    assert left[2] != f"{number} scores on search data", "what is damaged is not counted"
    finish(out, criterion="esap")
    assert saved_work(out) == []


def test_trainings_and_the_choice_of_a_criterion_are_no_scores_of_the_search(tmp_path):
    with RunState(tmp_path) as state:
        told, board = ToldLogits(state, "key"), ToldScores(state, "key", "choice")
        told.add(KeepLogits({0: [0.0, 1.0]}), AllocationSpace((2,), (1,), 1, layers=(0,)), {0: [0.5, 1.0]})
        board.add(Candidate(((0, (1,)),)), WindowScores((0.5,), (1,)))
        board.save(1)
    assert saved_work(tmp_path) == ["1 score to choose a criterion by", "1 training of keep logits"]


@pytest.mark.parametrize("calls", [1, 5, 11])
def test_scores_within_a_round_are_saved_when_it_is_interrupted(calls, tmp_path, monkeypatch):
    """From Python the interrupt passes on."""
    out, told = tmp_path / "out", []
    score_each = SliceScorer.score_each

    def interrupted(self, candidates, scored, *given):
        def and_then(found):
            scored(found)
            told.extend(found)
            if len(told) >= calls:
                raise KeyboardInterrupt

        score_each(self, candidates, and_then, *given)

    monkeypatch.setattr(SliceScorer, "score_each", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_pruner().prune(out, rows(), rows(seed=1))
    monkeypatch.undo()
    assert saved_work(out) == ["the statistics", f"{calls} score{'s' * (calls > 1)} on search data"]
    pieces = [json.loads(path.read_text())["content"]["scores"] for path in (out / ".evoesap").glob("search-*.json")]
    assert sum(map(len, pieces)) == calls
    unbroken = make_pruner()
    unbroken.prune(None, rows(), rows(seed=1))
    assert finish(out) == unbroken.result
