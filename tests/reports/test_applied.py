# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A result of one run, applied by another pruner: the same weights, a true record, and what does not fit refused."""

from __future__ import annotations

import dataclasses
import json

import pytest

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult
from optimum_evoesap.calibration.criteria import CRITERIA
from tests.model_matrix import make_model
from tests.pruning import SMALL, make_pruner, rows


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("model_type", ["olmoe", "deepseek_v3"])
@pytest.mark.parametrize("form", ["folder", "file", "result"])
def test_the_record_says_where_it_came_from(model_type, form, searched_runs, tmp_path, caplog):
    folder, out = searched_runs[model_type], tmp_path / "out"
    given = {"folder": folder, "file": str(folder / "evoesap_result.json"), "result": PruningResult.load(folder)}[form]
    pruner = MoEPruner(make_model(model_type))
    pruner.prune(out, result=given)
    # The class builds no layers for multi-token prediction, of which the config of DeepSeek-V3 claims one.
    assert all("multi-token prediction" in each.getMessage() for each in caplog.records)
    assert weights(out) == weights(folder)
    found, applied = PruningResult.load(folder), PruningResult.load(out)
    same = ("kept_experts", "allocation", "scores", "history", "data", "criterion", "fitness", "seed", "beats_uniform")
    for name in (*same, "base_weights", "parameters", "size_in_bytes"):
        assert getattr(applied, name) == getattr(found, name), name
    assert applied.scores and not found.applied_from
    place = None if form == "result" else str(given)
    assert applied.applied_from == {
        "result": place,
        "revision": None,
        "base_model": found.base_model,
        "base_weights": found.base_weights,
        "dtype": "float32",
        "versions": found.versions,
    }
    config = EvoESAPConfig.from_pretrained(out)
    assert config.allocation == dict(zip(found.sparse_layers, found.allocation)) and config.sparsity is None
    assert config.calibration_dataset is None and config.search_dataset is None and config.criterion == "reap"
    card = (out / "README.md").read_text()
    assert "was not found here" in card and "not once more here" in card and "evolutionary search" not in card
    assert "evoesap apply --result" in card and str(folder) not in card
    assert pruner.allocation == found.allocation and pruner.kept_experts == found.kept_experts


def test_a_result_that_was_applied_is_still_that_of_its_run(searched_runs, tmp_path):
    MoEPruner(make_model("olmoe")).prune(tmp_path / "second", result=searched_runs["olmoe"])
    pruner = MoEPruner(make_model("olmoe"))
    pruner.apply(tmp_path / "second")
    found = PruningResult.load(searched_runs["olmoe"])
    assert pruner.result.applied_from["versions"] == found.versions
    assert pruner.result.applied_from["result"] == str(tmp_path / "second")


def test_a_file_that_is_no_result(tmp_path):
    pruner = make_pruner()
    with pytest.raises(FileNotFoundError, match="evoesap_result.json"):
        pruner.apply(tmp_path)
    for content in ("{", "[]", "{}", json.dumps({"base_model": "me/base"})):
        (tmp_path / "evoesap_result.json").write_text(content)
        with pytest.raises(ValueError, match="is not the result of a run"):
            pruner.apply(tmp_path)
    with pytest.raises(ValueError, match="would have no effect"):
        pruner.prune(None, rows(), result=tmp_path)


def test_kept_experts_alone(tmp_path):
    pruner = make_pruner()
    with pytest.raises(ValueError, match=r"layers \[9\]"):
        pruner.apply({9: [1, 2]})
    pruner.apply({0: [1, 2, 5], 2: [0, 3]})
    pruner.save_pretrained(tmp_path)
    result = PruningResult.load(tmp_path)
    assert result.allocation == [5, 0, 6] and result.kept_experts[0] == [1, 2, 5] and result.criterion is None
    assert not result.scores and not result.applied_from
    card = (tmp_path / "README.md").read_text()
    assert "Which experts go was given by the user" in card and "criterion" not in card
    again = make_pruner()
    again.prune(tmp_path / "again", result=tmp_path)
    assert weights(tmp_path / "again") == weights(tmp_path)


def test_a_criterion_that_is_not_known_here_is_still_named(searched_runs, tmp_path, caplog):
    found = dataclasses.replace(PruningResult.load(searched_runs["olmoe"]), criterion="somebodys")
    assert "somebodys" not in CRITERIA
    MoEPruner(make_model("olmoe"), EvoESAPConfig(**SMALL)).prune(tmp_path, result=found)
    assert "criterion 'somebodys' of the result is not registered here" in caplog.text
    assert (
        PruningResult.load(tmp_path).criterion == "somebodys" and "`somebodys`" in (tmp_path / "README.md").read_text()
    )
