# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The figures of a run: the same in the model card and in the terminal."""

from __future__ import annotations

import dataclasses

import pytest

from optimum_evoesap import PruningResult
from optimum_evoesap.reports.card import create_model_card
from optimum_evoesap.reports.figures import bar, score_rows, size_rows
from optimum_evoesap.reports.summary import summarize
from tests.reports.results import SEARCHED


NAMES = ("experts", "parameters", "bytes")


def test_kept_counts_decide_whether_a_result_is_uniform(tmp_path):
    assert SEARCHED.kept_counts == [4, 6, 8] and not SEARCHED.is_uniform
    kept = {layer: [0, 1, 2, 3] for layer in SEARCHED.sparse_layers}
    levelled = dataclasses.replace(SEARCHED, kept_experts=kept, num_experts=[8, 6, 4], sparsity=6 / 18)
    assert levelled.kept_counts == [4, 4, 4] and levelled.is_uniform
    levelled.save(tmp_path)
    assert PruningResult.load(tmp_path) == levelled


def test_sizes_before_and_after():
    assert size_rows(SEARCHED.sizes, NAMES) == [
        ["experts", "24", "18", "-25.0%"],
        ["parameters", "6.92B", "5.31B", "-23.3%"],
        ["bytes", "13.84 GB", "815.54 MB", "-94.1%"],
    ]


@pytest.mark.parametrize("parameters", [{}, {"before": 8}, {"after": 8}, {"before": 0, "after": 0}])
def test_sizes_that_the_record_lacks_are_left_out(parameters):
    result = dataclasses.replace(SEARCHED, parameters=parameters, size_in_bytes={})
    assert size_rows(result.sizes, NAMES) == [["experts", "24", "18", "-25.0%"]]
    assert "parameters" not in summarize(result, "out")


def test_scores_of_both_data():
    names = ("search", "held out")
    assert score_rows(SEARCHED.scores, names) == [["search", "0.9313", "0.9100"], ["held out", "0.9301", "0.9052"]]
    part = dataclasses.replace(SEARCHED, scores={"holdout_best": 0.5})
    assert score_rows(part.scores, names) == [["held out", "0.5000", "not measured"]]


@pytest.mark.parametrize(
    "kept, total, width, drawn", [(4, 8, 8, "####...."), (8, 8, 4, "####"), (1, 2, 4.0, "##.."), (1, 100, 4, "....")]
)
def test_bars(kept, total, width, drawn):
    assert bar(kept, total, width, "#", ".") == drawn


def test_the_card_and_the_terminal_tell_the_same_numbers():
    card, summary = create_model_card(SEARCHED, {}).text, summarize(SEARCHED, "out")
    for _, *numbers in [*size_rows(SEARCHED.sizes, NAMES), *score_rows(SEARCHED.scores, ("search", "held out"))]:
        assert all(number in card and number in summary for number in numbers)
    assert all(f"{kept} of 8" in card and f"{kept} of 8" in summary for kept in SEARCHED.kept_counts)
