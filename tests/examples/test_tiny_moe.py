# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The whole way on real input: the bundled trained model, its tokenizer and chat data, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult
from tests.hub_server import HubServer


TINY_MOE = Path(__file__).parents[2] / "examples" / "tiny_moe"
PROMPT = [{"role": "user", "content": "What is 12 + 34?"}]
REPOSITORY = "tester/tiny-moe-50"


def make_config(**options) -> EvoESAPConfig:
    return EvoESAPConfig(
        **{
            "sparsity": 0.5,
            "calibration_dataset": str(TINY_MOE / "data" / "calibration.jsonl"),
            "calibration_samples": 24,
            "search_dataset": str(TINY_MOE / "data" / "search.jsonl"),
            "search_samples": 8,
            "holdout_fraction": 1.0,
            "sequence_length": 256,
            "batch_size": 8,
            "population_size": 12,
            "generations": 6,
        }
        | options
    )


@pytest.fixture(scope="module")
def pruned(tmp_path_factory) -> tuple[Path, MoEPruner]:
    folder = tmp_path_factory.mktemp("tiny_moe") / "pruned"
    pruner = MoEPruner.from_pretrained(TINY_MOE / "checkpoint", make_config(), dtype=torch.float32)
    pruner.prune(save_directory=folder)
    return folder, pruner


def run(code: str, *arguments: str, **environment: str) -> str:
    import os

    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_search_beats_uniform_on_sequences_it_never_saw(pruned):
    result = PruningResult.load(pruned[0])
    assert result.sparsity == 0.5 and result.budget == 64
    assert result.scores["best"] > result.scores["uniform"]
    assert result.scores["holdout_best"] > result.scores["holdout_uniform"] + 0.02 and result.beats_uniform
    assert len(set(result.allocation)) > 1


def test_only_answers_are_scored(pruned):
    data = PruningResult.load(pruned[0]).data
    assert data["calibration"]["tokens"] == 24 * 256
    for kind in ("calibration", "search"):
        assert 0 < data[kind]["scored_tokens"] < data[kind]["tokens"] / 2


def test_the_folder_is_a_whole_checkpoint(pruned):
    names = {path.name for path in pruned[0].iterdir()}
    assert {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "evoesap_config.json",
        "evoesap_result.json",
        "README.md",
    } <= names
    assert any(name.endswith(".safetensors") for name in names)
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)


PIPELINE = """
import json, sys
import optimum_evoesap
from transformers import pipeline
generator = pipeline("text-generation", model=sys.argv[1])
answer = generator(json.loads(sys.argv[2]), max_new_tokens=12, do_sample=False, return_full_text=False)
print(json.dumps(answer[0]["generated_text"]))
"""


def test_pipeline_in_a_fresh_process(pruned):
    folder, pruner = pruned
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer.apply_chat_template(PROMPT, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    output = pruner.model.generate(**inputs, max_new_tokens=12, do_sample=False)
    expected = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert expected
    assert json.loads(run(PIPELINE, str(folder), json.dumps(PROMPT))) == expected


def test_push_to_hub_and_load_back(pruned, tmp_path):
    """prune, push and load with the real client against a local server, each in a process of its own."""
    folder, pruner = pruned
    config = make_config(allocation=pruner.allocation, sparsity=None)
    config.save_pretrained(tmp_path)
    push = """
import sys
from optimum_evoesap import EvoESAPConfig, MoEPruner
config = EvoESAPConfig.from_pretrained(sys.argv[1])
pruner = MoEPruner.from_pretrained(sys.argv[2], config, dtype="float32")
pruner.prune(push_to_hub=True, hub_model_id=sys.argv[3], private=True, commit_message="Half the experts")
print(pruner.kept_experts)
"""
    load = """
import json, sys
import optimum_evoesap
from transformers import pipeline
generator = pipeline("text-generation", model=sys.argv[1])
answer = generator(json.loads(sys.argv[2]), max_new_tokens=12, do_sample=False, return_full_text=False)
counts = [layer.mlp.gate.num_experts for layer in generator.model.model.layers]
print(json.dumps([counts, answer[0]["generated_text"]]))
"""
    with HubServer() as hub:
        online = {"HF_HUB_OFFLINE": "0"}
        run(push, str(tmp_path), str(TINY_MOE / "checkpoint"), REPOSITORY, **hub.environment(tmp_path / "a") | online)
        (commit,) = hub.pushed_commits(REPOSITORY)
        assert commit.message == "Half the experts"
        files = hub.files(REPOSITORY)
        loaded = run(load, REPOSITORY, json.dumps(PROMPT), **hub.environment(tmp_path / "b") | online)
    counts, answer = json.loads(loaded)
    assert counts == [16 - gone for gone in pruner.allocation]
    assert answer == json.loads(run(PIPELINE, str(folder), json.dumps(PROMPT)))
    assert json.loads(files["evoesap_result.json"])["allocation"] == pruner.allocation
    for name in ("README.md", "config.json", "evoesap_config.json", "evoesap_result.json"):
        assert str(TINY_MOE) not in files[name].decode(), f"{name} tells where files lie on this machine"


def test_push_without_a_login_fails_before_the_work(tmp_path):
    code = """
import sys
from optimum_evoesap import MoEPruner
from transformers import AutoModelForCausalLM
pruner = MoEPruner(AutoModelForCausalLM.from_pretrained(sys.argv[1]))
pruner.calibrate = lambda *_: sys.exit("the long work must not start")
try:
    pruner.prune(push_to_hub=True, hub_model_id="tester/x", calibration_data=[[1, 2]])
except OSError as error:
    print(error)
"""
    home = {"HF_HOME": str(tmp_path), "HF_TOKEN": ""}
    assert "hf auth login" in run(code, str(TINY_MOE / "checkpoint"), **home)


def test_a_padded_run_and_another_fitness(tmp_path):
    config = make_config(packing=False, fitness="kl", generations=2, criterion="frequency")
    pruner = MoEPruner.from_pretrained(TINY_MOE / "checkpoint", config, dtype=torch.float32)
    pruner.prune(save_directory=tmp_path / "out")
    assert pruner.result.fitness == "kl" and pruner.scores["best"] <= 0
    assert pruner.result.data["search"]["tokens"] < 16 * 256
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokens = torch.arange(10, 40)[None]
    with torch.no_grad():
        assert torch.equal(reloaded(tokens).logits, pruner.model(tokens).logits)


def test_narrow_calibration_data_are_told_from_broad_ones(caplog):
    """As many windows of each: what is asked in one way alone leaves more experts unused."""
    narrow = str(TINY_MOE / "data" / "search_narrow.jsonl")
    for dataset, is_narrow in ((make_config().calibration_dataset, False), (narrow, True)):
        caplog.clear()
        config = make_config(calibration_dataset=dataset, calibration_samples=128)
        MoEPruner.from_pretrained(TINY_MOE / "checkpoint", config, dtype=torch.float32).calibrate()
        assert ("calibration tokens, so their places in the pruning order" in caplog.text) is is_narrow
