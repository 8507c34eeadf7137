# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`MoEPruner`]: the whole way on tokenized data, its stages, resuming, and what bad input gets."""

from __future__ import annotations

import dataclasses
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
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.fitness.window_scores import WindowScores
from optimum_evoesap.models.virtual_slice import VirtualSlice
from optimum_evoesap.reports.summary import summarize
from tests.memory import aligned
from tests.model_matrix import MODEL_TYPES, layers_of, make_model, random_tokens


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
        torch.manual_seed(0)  # for DiffusionGemma, which starts from random tokens
        return model(input_ids=TOKENS).logits


def make_pruner(model_type="olmoe", **options):
    options = SMALL | options
    if not isinstance(options.get("allocation", ""), str):
        del options["sparsity"]  # it follows from the counts
    return MoEPruner(make_model(model_type), EvoESAPConfig(**options))


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
        assert set(result.scores) == {"best", "uniform", "holdout_best", "holdout_uniform"}
        assert result.scores["best"] >= result.scores["uniform"] and len(result.history) == 3
        assert result.beats_uniform == (result.scores["holdout_best"] > result.scores["holdout_uniform"])
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
    with pytest.raises(ValueError, match="between 0 and 6"):
        pruner.apply([7, 0, 0])
    with pytest.raises(ValueError, match="removes nothing"):
        pruner.apply([0, 0, 0])
    with pytest.raises(ValueError, match=r"layers \[7\]"):
        pruner.apply({7: 1})
    pruner.apply(given)
    assert [layer.num_experts for layer in pruner.layers] == [2, 8, 7]
    assert pruner.result.budget == 7
    # The scores of the allocation that was searched are not those of this one.
    assert pruner.result.fitness is None and pruner.result.beats_uniform is None and not pruner.result.history
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


def test_without_resume_everything_is_done_again(tmp_path, monkeypatch):
    first = make_pruner()
    monkeypatch.setattr(
        "optimum_evoesap.models.sparse_model.remove_experts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        first.prune(tmp_path / "out", rows(), rows(seed=1))
    monkeypatch.undo()
    calls = []
    score = FitnessScorer.score
    monkeypatch.setattr(FitnessScorer, "score", lambda self, *given: calls.append(self) or score(self, *given))
    again = make_pruner()
    again.prune(tmp_path / "out", rows(), rows(seed=1), resume=False)
    assert len(calls) == again.history[-1]["candidates"] + 2
    assert again.allocation == first.allocation


def test_what_loads_comes_last(tmp_path, monkeypatch):
    """A kill while files are moved into place must not leave a folder that loads and is half a checkpoint."""
    moved = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: moved.append(Path(new).name) or replace(old, new))
    make_pruner(allocation=[1, 2, 3]).prune(tmp_path / "out", rows())
    assert moved[-1] == "config.json" and "model.safetensors" in moved


@pytest.mark.parametrize("moves", [1, 2, 4])
@pytest.mark.parametrize("has_earlier_result", [False, True])
def test_a_run_killed_while_files_are_moved_goes_on(has_earlier_result, moves, tmp_path, monkeypatch):
    if has_earlier_result:
        make_pruner(allocation=[3, 2, 1]).prune(tmp_path / "out", rows())
    moved = []
    replace = os.replace

    def move(old, new):
        if ".evoesap/checkpoint" in str(old):
            if len(moved) == moves:
                raise KeyboardInterrupt
            moved.append(new)
        replace(old, new)

    monkeypatch.setattr(os, "replace", move)
    with pytest.raises(KeyboardInterrupt):
        make_pruner(allocation=[1, 2, 3]).prune(tmp_path / "out", rows())
    monkeypatch.undo()
    assert not (tmp_path / "out" / "config.json").exists()
    pruner = make_pruner(allocation=[1, 2, 3])
    pruner.prune(tmp_path / "out", rows())
    assert torch.equal(logits(pruner.model), logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")))


def test_a_folder_of_an_earlier_result_is_replaced(tmp_path):
    """Tokenizers with several chat templates save them in a folder."""

    class Tokenizer:
        def save_pretrained(self, folder):
            (folder / "additional_chat_templates").mkdir()
            (folder / "additional_chat_templates" / "tools.jinja").write_text(self.text)

    for text in ("old", "new"):
        pruner = make_pruner(allocation=[1, 2, 3])
        pruner.tokenizer = Tokenizer()
        pruner.tokenizer.text = text
        pruner.prune(tmp_path / "out", rows())
    assert (tmp_path / "out" / "additional_chat_templates" / "tools.jinja").read_text() == "new"


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


def test_more_generations_go_on_from_the_scores_of_fewer(tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    first = make_pruner()
    first.apply = lambda: (_ for _ in ()).throw(Stop)
    with pytest.raises(Stop):
        first.prune(tmp_path / "out", rows(), rows(seed=1))
    calls = []
    score = FitnessScorer.score
    monkeypatch.setattr(FitnessScorer, "score", lambda self, *given: calls.append(self) or score(self, *given))
    longer = make_pruner(generations=4)
    longer.prune(tmp_path / "out", rows(), rows(seed=1))
    assert len(calls) == longer.history[-1]["candidates"] - first.history[-1]["candidates"] + 2
    assert longer.history[:3] == first.history


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


# --- resuming ---

# With as many threads as the tests have: they decide in which order sums are taken.
RUN = """
import sys
from pathlib import Path
import tests.conftest
from tests.test_pruner import make_pruner, rows
from optimum_evoesap.fitness.scorer import FitnessScorer
import time
score = FitnessScorer.score
FitnessScorer.score = lambda self, sliced: (time.sleep(0.05), score(self, sliced))[1]
make_pruner(generations=12, population_size=8).prune(Path(sys.argv[1]), rows(), rows(seed=1))
"""


def test_a_killed_run_goes_on_to_the_same_result(tmp_path, monkeypatch):
    unbroken = make_pruner(generations=12, population_size=8)
    unbroken.prune(tmp_path / "unbroken", rows(), rows(seed=1))

    folder = tmp_path / "killed"
    state = folder / ".evoesap" / "search-000000.json"
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths))
    process = subprocess.Popen([sys.executable, "-c", RUN, str(folder)], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not state.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run must be killed in its search"
    pieces = [json.loads(path.read_text())["content"] for path in state.parent.glob("search-*.json")]
    saved = [pair for piece in pieces for pair in piece["scores"]]
    assert 8 <= len(saved) < len(unbroken.history) * 8
    assert not (folder / "config.json").exists(), "nothing half written"

    resumed = make_pruner(generations=12, population_size=8)
    calls = []
    score = FitnessScorer.score
    monkeypatch.setattr(FitnessScorer, "score", lambda self, *given: calls.append(self) or score(self, *given))
    resumed.prune(folder, rows(), rows(seed=1))
    assert resumed.result == unbroken.result
    # All candidates but the saved ones, and two on held-out data.
    assert len(calls) == unbroken.history[-1]["candidates"] - len(saved) + 2, "saved candidates are not scored again"
    assert not (folder / ".evoesap").exists()
    assert torch.equal(logits(resumed.model), logits(unbroken.model))


@pytest.mark.parametrize("change", [{"seed": 1}, {"criterion": "ean"}, {"fitness": "kl"}])
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
    assert any("that work is done again" in record.message for record in caplog.records)
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


def test_the_model_itself_is_never_written_over(tmp_path):
    """Pruning again, with the folder of the model given as the output."""
    make_pruner(allocation=[6, 6, 0]).prune(tmp_path / "first", rows())
    before = (tmp_path / "first" / "model.safetensors").read_bytes()
    pruner = MoEPruner.from_pretrained(
        tmp_path / "first", EvoESAPConfig(allocation=[0, 0, 6], sequence_length=16, calibration_samples=6)
    )
    (tmp_path / "link").symlink_to(tmp_path / "first")
    for folder in (tmp_path / "first", tmp_path / "link", tmp_path / "first" / ".." / "first"):
        with pytest.raises(FileExistsError, match="holds the model that is to be pruned"):
            pruner.prune(folder, rows())
    pruner.prune(tmp_path / "second", rows())
    with pytest.raises(FileExistsError, match="holds the model that is to be pruned"):
        pruner.save_pretrained(tmp_path / "first")
    assert (tmp_path / "first" / "model.safetensors").read_bytes() == before


def test_an_earlier_result_is_replaced_with_a_warning(tmp_path, caplog):
    make_pruner(allocation=[6, 6, 0]).prune(tmp_path / "out", rows())
    assert "earlier result" not in caplog.text
    make_pruner(allocation=[6, 0, 6]).prune(tmp_path / "out", rows())
    assert "out holds an earlier result, which this one will replace" in caplog.text


def test_an_earlier_result_is_replaced_and_the_users_files_stay(tmp_path):
    make_pruner(allocation=[6, 6, 0]).prune(tmp_path / "out", rows())
    (tmp_path / "out" / "model-00007-of-00009.safetensors").write_text("a shard of an older checkpoint")
    (tmp_path / "out" / "eval_results.json").write_text("{}")
    pruner = make_pruner(allocation=[0, 0, 6])
    pruner.prune(tmp_path / "out", rows())
    assert not (tmp_path / "out" / "model-00007-of-00009.safetensors").exists()
    assert (tmp_path / "out" / "eval_results.json").exists()
    assert PruningResult.load(tmp_path / "out").allocation == [0, 0, 6]
    assert torch.equal(logits(pruner.model), logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")))


def test_an_output_folder_behind_a_link_and_a_log_written_into_it(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    pruner = make_pruner(allocation=[1, 2, 3])
    calibrate = pruner.calibrate
    pruner.calibrate = lambda: (tmp_path / "out" / "train.log").write_text("started") and calibrate()
    pruner.prune(tmp_path / "out", rows())
    assert (tmp_path / "out").is_symlink() and (tmp_path / "disk" / "config.json").is_file()
    assert (tmp_path / "disk" / "train.log").is_file()


def test_an_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    pruner = make_pruner()
    pruner.calibrate = lambda *_: pytest.fail("the long work must not start")
    with pytest.raises(OSError):
        pruner.prune(tmp_path / "file" / "out", rows(), rows())


def test_holdout_windows_without_a_scored_token(tmp_path):
    unscored = [
        {"input_ids": row["input_ids"], "labels": row["input_ids"] if i < 4 else torch.full((16,), -100)}
        for i, row in enumerate(rows(5))
    ]
    refuses(make_pruner(), "held-out windows hold no scored token", tmp_path, search=unscored)


def test_a_search_that_does_not_beat_uniform_says_so(tmp_path, caplog, monkeypatch):
    # All candidates alike: the best is the uniform one, which does not beat itself.
    monkeypatch.setattr(FitnessScorer, "score", lambda self, sliced: WindowScores((0.5,), (1,)))
    pruner = make_pruner()
    pruner.prune(tmp_path / "out", rows(), rows(seed=1))
    assert pruner.result.beats_uniform is False and pruner.allocation == [4, 4, 4]
    assert any("does not beat the uniform" in record.message for record in caplog.records)
    assert "does not beat the uniform" in (tmp_path / "out" / "README.md").read_text()


def test_too_few_windows_to_hold_some_out_are_said(caplog):
    pruner = make_pruner()
    pruner.prune(None, rows(), rows(2))
    assert pruner.result.beats_uniform is None
    assert any("too few to hold some out" in record.message for record in caplog.records)


@pytest.mark.parametrize("allocation", ["uniform", [6, 0, 0], "evolution"])
def test_search_data_score_an_allocation_that_is_not_searched_too(allocation, tmp_path):
    """One call for every allocation; the scores are those that a search would have found for it."""
    pruner = make_pruner(allocation=allocation)
    pruner.prune(tmp_path / "out", rows(), rows(seed=1))
    result = pruner.result
    assert set(result.scores) == {"best", "uniform", "holdout_best", "holdout_uniform"} and result.fitness == "esap"
    whole = make_model("olmoe")
    search, holdout = (
        FitnessScorer(whole, [{"input_ids": row["input_ids"][None], "labels": row["input_ids"][None]} for row in part])
        for part in (rows(seed=1)[:4], rows(seed=1)[4:5])
    )
    with VirtualSlice(layers_of(whole), pruner.kept_experts):
        assert result.scores["best"] == pytest.approx(search.score().mean, abs=1e-6)
        assert result.scores["holdout_best"] == pytest.approx(holdout.score().mean, abs=1e-6)
    if allocation == "uniform":
        assert result.scores["best"] == result.scores["uniform"] and result.beats_uniform is None
    else:
        assert result.beats_uniform == (result.scores["holdout_best"] > result.scores["holdout_uniform"])
    assert bool(result.history) == (allocation == "evolution")
    card = (tmp_path / "out" / "README.md").read_text()
    assert ("evolutionary search that maximises" in card) == (allocation == "evolution")
    assert f"{result.scores['best']:.4f}" in card


def test_scores_without_held_out_windows_say_why_they_were_not_compared(tmp_path):
    for options, count, reason in (
        ({"holdout_fraction": 0.0}, 6, "holdout_fraction=0"),
        ({}, 2, "2 windows are too few to hold some out"),
        ({"allocation": "uniform"}, 6, "it is the uniform allocation"),
    ):
        pruner = make_pruner(**options)
        pruner.prune(tmp_path / "out", rows(), rows(count))
        assert pruner.result.beats_uniform is None and pruner.result.not_compared_because == reason
        assert reason in summarize(pruner.result, "out") and reason in (tmp_path / "out" / "README.md").read_text()


def test_unknown_arguments_and_those_without_effect_are_errors_before_any_work(tmp_path):
    pruner = make_pruner()
    pruner.calibrate = lambda *_: pytest.fail("the long work must not start")
    for prune in (pruner.prune, lambda **given: pruner.quantize(tmp_path / "out", **given)):
        with pytest.raises(TypeError, match="save_dirs"):
            prune(save_dirs=tmp_path / "out", calibration_data=rows(), search_data=rows())
        for given in ({"private": True}, {"hub_model_id": "me/model"}, {"commit_message": "x"}, {"create_pr": True}):
            with pytest.raises(ValueError, match=f"{next(iter(given))} would have no effect"):
                prune(calibration_data=rows(), search_data=rows(), **given)
    with pytest.raises(TypeError, match="save_dir"):
        pruner.prune(save_dir=tmp_path / "out", calibration_data=rows(), search_data=rows())
    assert not list(tmp_path.iterdir())


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


def test_what_a_killed_run_left_and_cannot_be_removed_is_found_before_the_work(tmp_path, monkeypatch):
    left = tmp_path / "out" / ".evoesap" / "checkpoint"
    left.mkdir(parents=True)
    (left / "config.json").write_text("{}")
    remove = os.unlink

    def unlink(path, *args, **kwargs):
        if str(path).endswith("config.json"):
            raise PermissionError(f"not permitted: {path}")
        return remove(path, *args, **kwargs)

    monkeypatch.setattr(os, "unlink", unlink)
    pruner = make_pruner(allocation="uniform")
    pruner.calibrate = lambda *_: pytest.fail("the long work must not start")
    with pytest.raises(PermissionError):
        pruner.prune(tmp_path / "out", rows())


def test_state_that_cannot_be_removed_after_success_is_said_and_not_an_error(tmp_path, monkeypatch, caplog):
    remove = Path.unlink

    def unlink(path, *args, **kwargs):
        if path.name == "statistics.safetensors":
            raise PermissionError("not permitted")
        return remove(path, *args, **kwargs)

    monkeypatch.setattr(Path, "unlink", unlink)
    make_pruner(allocation="uniform").prune(tmp_path / "out", rows())
    assert "cannot be removed" in caplog.text
    monkeypatch.undo()
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out")


def test_offloaded_and_foreign_tensors_are_refused():
    pruner = make_pruner()
    pruner.layers[1].blocks[0].expert_parts[0].replace(torch.empty(8, 48, 32, device="meta"))
    with pytest.raises(ValueError, match=r"layers \[1\] are not in memory"):
        pruner.calibrate(rows())
    model = make_model("olmoe")
    model.model.layers[0].mlp.experts.register_buffer("gate_up_proj_scale_inv", torch.ones(8, 1, 1))
    with pytest.raises(ValueError, match="gate_up_proj_scale_inv"):
        MoEPruner(model)
    model = make_model("olmoe")
    model.hf_quantizer = object()
    with pytest.raises(ValueError, match="quantized weights"):
        MoEPruner(model)


def test_push_without_a_name_is_refused():
    with pytest.raises(ValueError, match="hub_model_id"):
        make_pruner().prune(push_to_hub=True)
