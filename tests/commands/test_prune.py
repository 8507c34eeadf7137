# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`optimum-cli evoesap prune`: a checkpoint that loads, in this process and in one of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM

from optimum_evoesap import EvoESAPConfig, PruningResult
from optimum_evoesap.reports.inspection import inspect_model
from optimum_evoesap.reports.summary import summarize
from tests.commands.helpers import EXPERTS, FAST, LAYERS, data_options, stored_bytes
from tests.hub_server import TOKEN, HubServer


def test_prune_writes_a_checkpoint_that_loads(cli, checkpoint, data, tmp_path):
    out = tmp_path / "pruned"
    code, printed, _ = cli(
        "prune", "-m", checkpoint, "-o", out, "--sparsity", "0.5", *FAST, *data_options(data), "--device-map", "none"
    )
    assert code == 0
    config, result = EvoESAPConfig.from_pretrained(out), PruningResult.load(out)
    assert (config.sparsity, config.criterion, config.generations) == (0.5, "esap", 2)
    assert result.budget == LAYERS * EXPERTS // 2
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= {path.name for path in out.iterdir()}
    model = AutoModelForCausalLM.from_pretrained(out, dtype="auto")
    assert model.dtype == torch.bfloat16
    kept = [layer.mlp.experts.num_experts for layer in model.model.layers]
    assert kept == [EXPERTS - removed for removed in result.allocation]
    assert summarize(result, out) in printed


@pytest.mark.parametrize("option", [[], ["--remote-code"]])
def test_prune_adds_code_when_asked_to(option, cli, checkpoint, data, tmp_path):
    given = ["--allocation", "1,2,3", "--calibration-dataset", data, *FAST, *option]
    code, _, error = cli("prune", "-m", checkpoint, "-o", tmp_path / "out", *given)
    assert code == 0, error
    assert (tmp_path / "out" / "modeling_evoesap.py").exists() == bool(option)


def test_prune_from_a_ranking_at_another_budget(cli, checkpoint, data, tmp_path, caplog):
    first, second, whole = (tmp_path / name for name in ("first", "second", "whole"))
    given = ["-m", checkpoint, *FAST, "--search-dataset", data, "--device-map", "none"]
    assert cli("prune", "-o", first, "--sparsity", "0.5", "--calibration-dataset", data, *given)[0] == 0
    assert "calibrate" in caplog.text, "the estimate names each stage"
    caplog.clear()
    assert cli("prune", "-o", second, "--sparsity", "0.25", "--ranking", first, *given)[0] == 0
    assert "held-out" in caplog.text and "calibrate" not in caplog.text
    assert cli("prune", "-o", whole, "--sparsity", "0.25", "--calibration-dataset", data, *given)[0] == 0
    assert PruningResult.load(second).kept_experts == PruningResult.load(whole).kept_experts
    code, _, error = cli("prune", "-o", tmp_path / "third", "--ranking", tmp_path, *given)
    assert code == 2 and "evoesap_ranking.json" in error


def test_a_dry_run_writes_nothing(cli, checkpoint, data, tmp_path):
    out = tmp_path / "out"
    given = ["prune", "-m", checkpoint, "-o", out, "--sparsity", "0.5", *FAST, *data_options(data), "--dry-run"]
    code, printed, error = cli(*given)
    assert code == 0, error
    lines = [line.split() for line in printed.splitlines()]
    assert [line[0] for line in lines[2:7]] == ["calibrate", "rank", "search", "held-out", "all"]
    assert "Memory beside the weights" in printed and "Checkpoint: " in printed
    assert not out.exists()
    code, _, error = cli(*given, "--search-dataset", tmp_path / "nothing.jsonl")
    assert code == 2 and error.splitlines()[-1].startswith("error:"), "what is wrong with the data is found too"


def test_prune_as_its_own_process_and_push(checkpoint, data, tmp_path):
    out = tmp_path / "pruned"
    command = [sys.executable, "-m", "optimum.commands.optimum_cli", "evoesap", "prune", "-m", checkpoint, "-o", out]
    command += ["--allocation", "1,2,3", *FAST, *data_options(data)]
    command += ["--push-to-hub", "--hub-model-id", "tester/pruned", "--hub-revision", "half", "--private"]
    command += ["--commit-message", "Half of it", "--token", TOKEN]
    with HubServer() as hub:
        environment = hub.environment(tmp_path / "home", token=None)
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == 0, done.stderr
        assert [commit.message for commit in hub.pushed_commits("tester/pruned", "half")] == ["Half of it"]
        assert {"config.json", "model.safetensors", "README.md"} <= hub.files("tester/pruned", "half").keys()
    assert "Saved in" in done.stdout and "There were no search data" in done.stdout
    assert PruningResult.load(out).allocation == [1, 2, 3]
    assert [layer.num_experts for layer in inspect_model(out).layers] == [7, 6, 5]
    assert inspect_model(out).size_in_bytes == stored_bytes(out)
