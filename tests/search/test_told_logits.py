# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Keep logits in the state of a run: every bit of them, and only for what they were trained with."""

from __future__ import annotations

from dataclasses import replace

from optimum_evoesap.run.state import RunState
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.keep_logits.schedule import TrainingSchedule
from optimum_evoesap.search.rounds import KeepLogits
from optimum_evoesap.search.told_logits import ToldLogits


SPACE = replace(AllocationSpace.from_limits([3, 3], [1, 1], 2), protected=(frozenset({1}), frozenset()))
ASKED = KeepLogits({0: [0.1, 0.2, 0.3], 1: [1 / 3, 0, -1e-9]}, TrainingSchedule(num_tokens=7))
FOUND = {0: [1 / 7, -2.5, 1e-300], 1: [0.0, 3.0, 0.1 + 0.2]}


def test_they_come_back_bit_for_bit_for_the_same_question_alone(tmp_path):
    with RunState(tmp_path) as state:
        told = ToldLogits(state, "key")
        assert told.get(ASKED, SPACE) is None
        told.add(ASKED, SPACE, FOUND)
        assert told.get(ASKED, SPACE) == FOUND
    with RunState(tmp_path) as state:
        told = ToldLogits(state, "key")
        assert told.get(ASKED, SPACE) == FOUND
        assert told.get(replace(ASKED, schedule=TrainingSchedule(num_tokens=8)), SPACE) is None
        assert told.get(replace(ASKED, start={**ASKED.start, 1: [0.0, 0, -1e-9]}), SPACE) is None
        assert told.get(ASKED, replace(SPACE, budget=1)) is None
        assert told.get(ASKED, replace(SPACE, protected=())) is None
    with RunState(tmp_path) as state:
        assert ToldLogits(state, "of another model").get(ASKED, SPACE) is None


def test_a_damaged_piece_is_work_to_do_again(tmp_path):
    with RunState(tmp_path) as state:
        ToldLogits(state, "key").add(ASKED, SPACE, FOUND)
    (piece,) = (tmp_path / ".evoesap").glob("logits-*.json")
    piece.write_text(piece.read_text().replace("-2.5", "-2.6"))
    with RunState(tmp_path) as state:
        assert ToldLogits(state, "key").get(ASKED, SPACE) is None


def test_what_training_took_is_told_once(tmp_path):
    with RunState(tmp_path) as state:
        ToldLogits(state, "key").add(ASKED, SPACE, FOUND, 2.5)
    with RunState(tmp_path) as state:
        told = ToldLogits(state, "key")
        assert [told.seconds_of(ASKED, SPACE) for _ in range(2)] == [2.5, 0.0]
