# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Result files: what is written is read again, also where an earlier release wrote it."""

from __future__ import annotations

import json

import pytest

from optimum_evoesap import PruningResult
from optimum_evoesap.reports.card import create_model_card
from optimum_evoesap.reports.result import RESULT_NAME
from optimum_evoesap.reports.summary import summarize
from tests.reports.results import CONFIG, GUARDED, SEARCHED, UNIFORM


@pytest.mark.parametrize("result", [SEARCHED, GUARDED, UNIFORM])
def test_what_is_written_is_read_again(result, tmp_path):
    result.save(tmp_path)
    assert PruningResult.load(tmp_path) == result


def test_the_file_of_a_release_without_intervals_is_read_and_shown(tmp_path):
    SEARCHED.save(tmp_path)
    values = json.loads((tmp_path / RESULT_NAME).read_text())
    for name in ("interval", "is_guarded", "stopped_because"):
        del values[name]
    (tmp_path / RESULT_NAME).write_text(json.dumps(values))
    result = PruningResult.load(tmp_path)
    assert result.beats_uniform and result.interval is None and not result.is_guarded
    assert "beats the uniform one on held-out data." in summarize(result, "out")
    assert "beats the uniform allocation on held-out sequences" in create_model_card(result, CONFIG).text
    assert "beats the uniform allocation" in repr(result)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": 5}, "budget is 5, and allocation removes 6"),
        ({"budget": "6"}, "budget is '6'"),
        ({"sparsity": 0.5}, "sparsity is 0.5"),
        ({"sparsity": float("nan")}, "sparsity is nan"),
        ({"sparse_layers": [1, 5, 2]}, "sparse_layers names layers twice or not in their order"),
        ({"sparse_layers": []}, r"sparse_layers is \[\]"),
        ({"num_experts": [8, 8]}, "num_experts has 2 entries, and sparse_layers 3"),
        ({"num_experts": [8, 8, 10**30]}, r"num_experts\[2\] is 1000"),
        ({"allocation": [4, 3, -1]}, r"allocation\[2\] is -1"),
        ({"allocation": [4, 1, 1]}, "kept_experts keeps 6 of 8 experts of layer 2, of which allocation removes 1"),
        ({"kept_experts": {"1": [0], "2": [0]}}, "kept_experts has other layers than sparse_layers"),
        ({"kept_experts": SEARCHED.kept_experts | {1: [0, 1, 2, 2]}}, r"kept_experts\[1\] is \[0, 1, 2, 2\]"),
        ({"kept_experts": SEARCHED.kept_experts | {1: [0, 1, 2, 8]}}, "numbered from 0 to 7"),
        ({"kept_experts": [[0]]}, r"kept_experts is \[\[0\]\]"),
        ({"protected_experts": {"1": [7]}}, r"protected_experts\[1\] names the experts \[7\]"),
        ({"protected_experts": {"3": [0]}}, r"protected_experts\[3\] is of a layer that sparse_layers does not name"),
        ({"scores": {"best": "high"}}, "scores.best is 'high'"),
        ({"interval": [1]}, "interval is"),
        ({"domains": {"code": {"best": 1.0}}}, "domains.code has no field `uniform`"),
        ({"goal": "best"}, "goal is 'best'"),
        ({"seed": -1}, "seed is -1"),
        ({"is_guarded": True}, "is_guarded is True, which scores contradict"),
        ({"model_loader": "os; import os"}, "model_loader is"),
        ({"data": {"search": {"tokens": "many"}}}, "data.search.tokens is 'many'"),
        ({"applied_from": {"result": "x"}}, "applied_from has no field `revision`"),
        ({"history": [5]}, r"history\[0\] is 5"),
    ],
)
def test_a_field_that_is_wrong_is_named(changes, message, tmp_path):
    SEARCHED.save(tmp_path)
    values = json.loads((tmp_path / RESULT_NAME).read_text())
    (tmp_path / RESULT_NAME).write_text(json.dumps(values | changes))
    with pytest.raises(ValueError, match=f"{RESULT_NAME} is not the result of a run of optimum-evoesap: .*{message}"):
        PruningResult.load(tmp_path)


def test_where_it_was_read_from_is_not_believed(tmp_path):
    SEARCHED.save(tmp_path)
    values = json.loads((tmp_path / RESULT_NAME).read_text())
    (tmp_path / RESULT_NAME).write_text(json.dumps(values | {"loaded_from": {"result": "elsewhere"}}))
    assert PruningResult.load(tmp_path).loaded_from == {}
