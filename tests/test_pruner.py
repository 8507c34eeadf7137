# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`MoEPruner`]: the whole way on tokenized data, its stages, resuming, and what bad input gets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult
from optimum_evoesap.virtual_slice import VirtualSlice

from .model_matrix import MODEL_TYPES, make_model, random_tokens


SMALL = {
    "sparsity": 0.5,
    "generations": 3,
    "population_size": 6,
    "num_elites": 2,
    "sequence_length": 16,
    "calibration_samples": 6,
    "search_samples": 4,
    "batch_size": 2,
}
TOKENS = random_tokens(2, 16, seed=9)


def rows(count=12, seed=0):
    return [{"input_ids": tokens} for tokens in random_tokens(count, 16, seed)]


def logits(model):
    with torch.no_grad():
        return model(TOKENS).logits


def make_pruner(model_type="olmoe", **options):
    return MoEPruner(make_model(model_type), EvoESAPConfig(**(SMALL | options)))


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_the_whole_way(model_type, tmp_path):
    pruner = make_pruner(model_type)
    before = sum(p.numel() for p in pruner.model.parameters())
    model = pruner.prune(tmp_path / "out", rows(), rows(seed=1))
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
    assert set(result.scores) == {"best", "uniform", "holdout_best", "holdout_uniform"}
    assert result.scores["best"] >= result.scores["uniform"] and len(result.history) == 3
    assert result.beats_uniform == (result.scores["holdout_best"] > result.scores["holdout_uniform"])
    assert (result.data["calibration"]["sequences"], result.data["search"]["sequences"]) == (6, 5)
    assert EvoESAPConfig.from_pretrained(tmp_path / "out").to_dict() == pruner.config.to_dict()
    assert "base_model" not in (tmp_path / "out" / "README.md").read_text().split("---")[1]
    assert not list(tmp_path.glob("*.partial"))
    assert torch.equal(logits(model), logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")))


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


def test_apply_takes_an_allocation_of_its_own():
    pruner = make_pruner()
    pruner.calibrate(rows())
    pruner.rank()
    with pytest.raises(ValueError, match="between 0 and 6"):
        pruner.apply([7, 0, 0])
    pruner.apply([6, 0, 1])
    assert [layer.num_experts for layer in pruner.layers] == [2, 8, 7]
    assert pruner.result.budget == 7 and pruner.result.fitness is None and pruner.result.beats_uniform is None


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
    assert any("6" in record.message and "3" in record.message for record in caplog.records)


def test_min_experts():
    pruner = make_pruner(min_experts=4)
    pruner.prune(None, rows(), rows(seed=1))
    assert pruner.allocation == [4, 4, 4]
    with pytest.raises(ValueError, match="largest possible"):
        make_pruner(min_experts=5)
    with pytest.raises(ValueError, match="min_experts=9 is more"):
        make_pruner(min_experts=9)


# --- resuming ---

RUN = """
import sys
from pathlib import Path
from tests.test_pruner import make_pruner, rows
import optimum_evoesap.search as search
slow = len(sys.argv) > 2
if slow:
    import time
    score = search.AllocationSearch._score
    search.AllocationSearch._score = lambda *a: (time.sleep(0.05), score(*a))[1]
make_pruner(generations=12, population_size=8).prune(Path(sys.argv[1]), rows(), rows(seed=1))
"""


def test_a_killed_run_goes_on_to_the_same_result(tmp_path):
    unbroken = make_pruner(generations=12, population_size=8)
    unbroken.prune(tmp_path / "unbroken", rows(), rows(seed=1))

    folder = tmp_path / "killed"
    state = folder / ".evoesap" / "search.json"
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[1]))
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder), "slow"], env=environment, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not state.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run must be killed in its search"
    saved = json.loads(state.read_text())["scores"]
    assert 8 <= len(saved) < len(unbroken.history) * 8
    assert not (folder / "config.json").exists(), "nothing half written"

    resumed = make_pruner(generations=12, population_size=8)
    scored = []
    import optimum_evoesap.search as search

    original = search.AllocationSearch._score
    try:
        search.AllocationSearch._score = lambda self, scorer, a: scored.append(a) or original(self, scorer, a)
        resumed.prune(folder, rows(), rows(seed=1))
    finally:
        search.AllocationSearch._score = original
    assert resumed.result == unbroken.result
    assert not {tuple(a) for a, _ in saved} & set(scored[:-2]), "saved candidates are not scored again"
    assert not (folder / ".evoesap").exists()
    assert torch.equal(logits(resumed.model), logits(unbroken.model))


@pytest.mark.parametrize("change", [{"seed": 1}, {"criterion": "ean"}, {"sparsity": 0.25}])
def test_the_state_of_another_run_is_not_used(change, tmp_path, caplog):
    class Stop(Exception):
        pass

    def interrupted(**options):
        pruner = make_pruner(**options)
        pruner.apply = lambda: (_ for _ in ()).throw(Stop)
        with pytest.raises(Stop):
            pruner.prune(tmp_path / "out", rows(), rows(seed=1))
        return pruner

    interrupted()
    interrupted(**change)
    assert any("starting anew" in record.message for record in caplog.records)
    clean = make_pruner(**change)
    clean.prune(tmp_path / "clean", rows(), rows(seed=1))
    pruner = make_pruner(**change)
    pruner.prune(tmp_path / "out", rows(), rows(seed=1))
    assert pruner.result == clean.result


# --- bad input: a clear error before any long work, and nothing written ---


def refuses(pruner, message, tmp_path, calibration=None, search=None, error=ValueError):
    pruner.calibrate = lambda *_: pytest.fail("the long work must not start")
    with pytest.raises(error, match=message):
        pruner.prune(
            tmp_path / "out", rows() if calibration is None else calibration, rows() if search is None else search
        )
    assert not (tmp_path / "out").exists()


def test_a_dense_model_is_refused_before_its_weights_are_read(tmp_path):
    config = LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=32
    )
    with pytest.raises(ValueError, match="no routed experts"):
        MoEPruner(LlamaForCausalLM(config))
    config.save_pretrained(tmp_path)  # no weights at all
    with pytest.raises(ValueError, match="no routed experts"):
        MoEPruner.from_pretrained(tmp_path)


def test_an_unreachable_sparsity_is_refused_before_weights_are_read(tmp_path):
    make_model("olmoe").config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"(?s)largest possible\s+sparsity is 0.75"):
        MoEPruner.from_pretrained(tmp_path, EvoESAPConfig(sparsity=0.9))


def test_a_type_without_a_causal_language_model_is_refused(tmp_path):
    AutoConfig.for_model("vit").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no causal language model for the model type 'vit'"):
        MoEPruner.from_pretrained(tmp_path)


def test_something_that_is_no_transformers_model_is_refused():
    with pytest.raises(ValueError, match="PreTrainedModel"):
        MoEPruner(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="loaded already"):
        MoEPruner.from_pretrained(make_model("olmoe"), dtype="auto")


@pytest.mark.parametrize(
    "allocation,message",
    [([1, 1], "2 counts"), ([7, 1, 1], "between 0 and 6"), ({9: 1}, r"layers \[9\]")],
)
def test_wrong_explicit_allocations_are_refused(allocation, message):
    with pytest.raises(ValueError, match=message):
        make_pruner(allocation=allocation)


def test_group_limited_routers_keep_groups_equal():
    with pytest.raises(ValueError, match="multiple of 3"):
        make_pruner("deepseek_v3", allocation=[4, 2])


def test_data_that_cannot_be_used(tmp_path):
    refuses(make_pruner(), "calibration data", tmp_path, calibration=[])
    refuses(make_pruner(), "search data", tmp_path, search=[])
    unscored = [{"input_ids": row["input_ids"], "labels": torch.full((16,), -100)} for row in rows()]
    refuses(make_pruner(), "(?i)scored", tmp_path, search=unscored)
    foreign = [{"input_ids": torch.full((16,), 96)}]
    refuses(make_pruner(), "96", tmp_path, search=foreign)
    refuses(make_pruner(), "tokenizer", tmp_path, calibration=["some text"])


def test_a_model_with_nan_logits_is_refused(tmp_path):
    pruner = make_pruner()
    pruner.model.lm_head.weight.data[:] = float("nan")
    refuses(pruner, "NaN or infinite logits", tmp_path)


def test_an_output_folder_that_holds_something_else(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    pruner = make_pruner()
    with pytest.raises(FileExistsError, match="thesis.tex"):
        pruner.prune(tmp_path / "out", rows(), rows())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="is a file"):
        pruner.prune(tmp_path / "file", rows(), rows())


def test_an_earlier_result_is_replaced_whole(tmp_path):
    make_pruner(allocation=[6, 6, 0]).prune(tmp_path / "out", rows())
    (tmp_path / "out" / "model-00007-of-00009.safetensors").write_text("a shard of an older checkpoint")
    pruner = make_pruner(allocation=[0, 0, 6])
    pruner.prune(tmp_path / "out", rows())
    assert not (tmp_path / "out" / "model-00007-of-00009.safetensors").exists()
    assert PruningResult.load(tmp_path / "out").allocation == [0, 0, 6]


def test_push_without_a_name_is_refused():
    with pytest.raises(ValueError, match="hub_model_id"):
        make_pruner().prune(push_to_hub=True)
