# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`MoEPruner`]: the whole way on tokenized data, and its stages."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.memory import aligned
from tests.model_matrix import MODEL_TYPES, make_model, random_tokens
from tests.pruning import SMALL, is_better, logits, make_pruner, rows


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_the_whole_way(model_type, tmp_path):
    # DiffusionGemma predicts no next token, so there is nothing to search by.
    is_searched = model_type != "diffusion_gemma"
    pruner = make_pruner(model_type, allocation="evolution" if is_searched else "uniform")
    before = sum(p.numel() for p in pruner.model.parameters())
    model = pruner.prune(tmp_path / "out", rows(), rows(seed=1) if is_searched else None)
    assert model is pruner.model
    assert sum(pruner.allocation) == pruner.space.budget == sum(pruner.space.num_experts) // 2
    kept = {layer: len(experts) for layer, experts in pruner.kept_experts.items()}
    assert kept == {
        layer: total - gone
        for layer, total, gone in zip(pruner.sparse_layers, pruner.space.num_experts, pruner.allocation)
    }
    assert [layer.num_experts for layer in pruner.layers] == list(kept.values())
    result = PruningResult.load(tmp_path / "out")
    assert result == pruner.result
    assert result.parameters == {"before": before, "after": sum(p.numel() for p in model.parameters())}
    assert result.parameters["after"] < before
    assert result.data["calibration"]["sequences"] == 6
    if is_searched:
        found = {"found", "holdout_found"} if result.is_guarded else set()
        assert set(result.scores) == {"best", "uniform", "holdout_best", "holdout_uniform"} | found
        assert result.scores["best"] >= result.scores["uniform"] and len(result.history) == 3
        assert result.beats_uniform == is_better(result) and result.stopped_because
        assert result.is_guarded <= (not result.beats_uniform)
        assert result.data["search"]["sequences"] == 5
    assert EvoESAPConfig.from_pretrained(tmp_path / "out").to_dict() == pruner.config.to_dict()
    assert "base_model" not in (tmp_path / "out" / "README.md").read_text().split("---")[1]
    assert not (tmp_path / "out" / ".evoesap").exists(), "what a killed run would need goes at the end"
    assert torch.equal(logits(model), logits(aligned(type(model).from_pretrained(tmp_path / "out"))))


def test_same_seed_same_result():
    results = []
    for _ in range(2):
        pruner = make_pruner()
        pruner.prune(None, rows(), rows(seed=1))
        results.append(pruner.result)
    assert results[0] == results[1]


def test_stages_one_at_a_time():
    pruner = make_pruner(criterion="frequency")
    for stage in (pruner.rank, pruner.search, pruner.apply, lambda: pruner.save_pretrained("nowhere")):
        with pytest.raises(ValueError, match="yet"):
            stage()
    assert pruner.kept_experts == {}
    statistics = pruner.calibrate(rows())
    assert statistics is pruner.statistics and statistics.num_tokens == 6 * 16
    order = pruner.rank()
    counts = statistics.layers[0].routed_tokens
    assert counts[order[0]].tolist() == sorted(counts.tolist())
    allocation = pruner.search(rows(seed=1))
    assert allocation == pruner.allocation and len(pruner.history) == 3
    with torch.no_grad(), VirtualSlice(pruner.layers, pruner.kept_experts):
        expected = logits(pruner.model)
    assert torch.equal(logits(pruner.apply()), expected)
    with pytest.raises(ValueError, match="pruned already"):
        pruner.apply()


@pytest.mark.parametrize("given", [[6, 0, 1], {0: 6, 2: 1}])
def test_apply_takes_an_allocation_of_its_own(given, tmp_path):
    pruner = make_pruner()
    pruner.calibrate(rows())
    pruner.rank()
    pruner.search(rows(seed=1))
    searched = pruner.scores
    with pytest.raises(ValueError, match="between 0 and 6"):
        pruner.apply([7, 0, 0])
    with pytest.raises(ValueError, match="'uniform' is a name; give removed counts"):
        pruner.apply("uniform")
    with pytest.raises(ValueError, match="removes nothing"):
        pruner.apply([0, 0, 0])
    with pytest.raises(ValueError, match=r"layers \[7\]"):
        pruner.apply({7: 1})
    pruner.apply(given)
    assert [layer.num_experts for layer in pruner.layers] == [2, 8, 7]
    assert pruner.result.budget == 7
    # The scores of the allocation that was searched are not those of this one, which has its own.
    assert pruner.result.scores["best"] != searched["best"] and not pruner.result.history
    assert pruner.result.beats_uniform == is_better(pruner.result)
    pruner.save_pretrained(tmp_path)
    assert EvoESAPConfig.from_pretrained(tmp_path).allocation == [6, 0, 1]


def test_a_pruned_model_is_not_pruned_by_the_same_pruner_again(tmp_path):
    pruner = make_pruner(allocation=[1, 2, 3])
    pruner.prune(tmp_path / "out", rows())
    for stage in (pruner.calibrate, pruner.search, pruner.apply, lambda: pruner.prune(tmp_path / "again")):
        with pytest.raises(ValueError, match="pruned already"):
            stage()
    assert not (tmp_path / "again").exists() and not (tmp_path / "out" / ".evoesap").exists()


def test_a_failure_in_surgery_does_not_pass_for_a_result(monkeypatch, tmp_path):
    pruner = make_pruner()
    pruner.calibrate(rows())
    pruner.rank()
    monkeypatch.setattr(
        "optimum_evoesap.models.sparse_model.remove_experts", lambda *_: (_ for _ in ()).throw(MemoryError)
    )
    with pytest.raises(MemoryError):
        pruner.apply([1, 2, 3])
    with pytest.raises(ValueError, match="not pruned yet"):
        pruner.save_pretrained(tmp_path / "out")


def test_left_padded_rows(tmp_path):
    padding = torch.zeros(48, dtype=torch.long)
    padded = [
        {
            "input_ids": torch.cat([padding, row["input_ids"]]),
            "attention_mask": torch.cat([padding, torch.ones(16, dtype=torch.long)]),
        }
        for row in rows()
    ]
    pruner = make_pruner(sequence_length=64)
    pruner.prune(None, padded, padded)
    assert pruner.statistics.num_tokens == 6 * 16


def test_a_model_in_training_mode_is_calibrated_in_evaluation_mode():
    model = make_model("olmoe")
    model.config.attention_dropout = 0.5
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    results = []
    for mode in (True, False):
        pruner = MoEPruner(model.train(mode), EvoESAPConfig(**SMALL))
        results.append(pruner.calibrate(rows()).layers[0].weighted_norm_sum)
    assert torch.equal(*results)


@pytest.mark.parametrize("given", [[5, 1, 0], {0: 5, 1: 1}])
def test_explicit_allocation_in_the_config(given, tmp_path):
    pruner = make_pruner(allocation=given)
    pruner.prune(tmp_path / "out", rows())
    assert pruner.allocation == [5, 1, 0] and not pruner.history
    assert pruner.result.sparsity == pytest.approx(6 / 24)
    assert list(pruner.result.data) == ["calibration"], "nothing is searched, so no search data are read"


def test_uniform_allocation_makes_an_ordinary_checkpoint(tmp_path):
    pruner = make_pruner(allocation="uniform")
    pruner.quantize(tmp_path / "out", calibration_data=rows())
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["num_experts"] == 4 and "per_layer_config" not in config
    assert pruner.result.beats_uniform is None
    with pytest.raises(ValueError, match="file_prefix"):
        pruner.quantize(tmp_path / "out", "prefix")


def test_padded_data_and_short_data(tmp_path, caplog):
    short = [{"input_ids": tokens[: 6 + i]} for i, tokens in enumerate(random_tokens(3, 16))]
    pruner = make_pruner()
    pruner.prune(None, short, short)
    assert pruner.result.data["calibration"]["tokens"] == 6 + 7 + 8
    assert "calibration data: wanted 6 windows of a list, found 3" in caplog.text


def test_min_experts():
    pruner = make_pruner(min_experts=4)
    pruner.prune(None, rows(), rows(seed=1))
    assert pruner.allocation == [4, 4, 4]
    assert make_pruner(min_experts=1).space.max_removed == (6, 6, 6), "the router needs two all the same"
    with pytest.raises(ValueError, match="largest possible"):
        make_pruner(min_experts=5)
    with pytest.raises(ValueError, match="min_experts=9 is more"):
        make_pruner(min_experts=9)


def test_a_stage_that_runs_again_makes_what_later_ones_found_invalid():
    pruner = make_pruner()
    pruner.calibrate(rows())
    pruner.rank()
    pruner.search(rows(seed=1))
    pruner.rank()
    assert pruner.allocation is None and not pruner.scores and not pruner.history and not pruner.kept_experts
    with pytest.raises(ValueError, match="yet"):
        pruner.apply()
    pruner.search()
    pruner.calibrate(rows(seed=5))
    assert pruner.order is None and pruner.allocation is None and not pruner.scores
    for stage in (pruner.search, pruner.apply):
        with pytest.raises(ValueError, match="yet"):
            stage()
    pruner.rank()
    pruner.search()
    other = make_pruner()
    other.prune(None, rows(seed=5), rows(seed=1))
    pruner.apply()
    assert pruner.result == other.result


def test_the_config_is_fixed_and_says_which_data_were_really_used(tmp_path):
    pruner = make_pruner()
    with pytest.raises(dataclasses.FrozenInstanceError, match=r"config.replace\(sparsity=0.25\)"):
        pruner.config.sparsity = 0.25
    with pytest.raises(AttributeError):
        pruner.config = EvoESAPConfig(sparsity=0.25)
    file = tmp_path / "tokens.jsonl"
    file.write_text("".join(json.dumps({"input_ids": row["input_ids"].tolist()}) + "\n" for row in rows()))
    pruner.prune(tmp_path / "out", rows(), file)
    saved = EvoESAPConfig.from_pretrained(tmp_path / "out")
    assert saved.calibration_dataset is None and saved.search_dataset == str(file)
    assert "evol-codealpaca" not in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(ValueError, match="calibration_dataset=None.*pass calibration_data"):
        MoEPruner(make_model("olmoe"), saved).prune(tmp_path / "again")
    assert not (tmp_path / "again").exists()
