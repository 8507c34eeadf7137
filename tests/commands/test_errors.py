# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Errors of `optimum-cli evoesap`: one line for those of the user, a traceback for others."""

from __future__ import annotations

import shutil

import pytest
from transformers import LlamaConfig, LlamaForCausalLM


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dense")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 32}
    LlamaForCausalLM(LlamaConfig(num_attention_heads=2, **sizes)).save_pretrained(folder)
    return folder


def check_error(outcome, *words):
    code, printed, error = outcome
    assert code == 2
    last = error.splitlines()[-1]
    assert last.startswith("error: ") and "Traceback" not in error
    assert all(word in last for word in words), last
    assert not printed


def test_a_dense_model_is_refused(cli, dense, tmp_path):
    check_error(cli("inspect", "-m", dense), "no routed experts")
    check_error(cli("prune", "-m", dense, "-o", tmp_path / "out"), "no routed experts")
    assert not (tmp_path / "out").exists()


def test_an_unreachable_sparsity_is_refused(cli, checkpoint, tmp_path):
    outcome = cli("prune", "-m", checkpoint, "-o", tmp_path / "out", "--sparsity", "0.9")
    check_error(outcome, "sparsity=0.9", "largest possible", "0.75")


def test_a_folder_with_other_things_is_refused(cli, checkpoint, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    check_error(cli("prune", "-m", checkpoint, "-o", tmp_path), "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_wrong_and_idle_options_are_refused(cli, checkpoint, tmp_path):
    prune = ["prune", "-m", checkpoint, "-o", tmp_path / "out"]
    check_error(cli(*prune, "--criterion", "magic"), "criterion='magic'", "reap")
    check_error(cli(*prune, "--allocation", "1,2,3", "--sparsity", "0.5"), "sparsity=0.5", "leave one of the two out")
    check_error(cli(*prune, "--hub-model-id", "me/model"), "--hub-model-id", "--push-to-hub")
    check_error(cli(*prune, "-c", tmp_path / "missing.json"), "missing.json")
    check_error(cli(*prune, "-c", tmp_path), "no configuration file", "evoesap_config.json")
    check_error(cli("inspect", "-m", tmp_path), "config.json")


def test_unexpected_errors_keep_their_traceback(cli, checkpoint, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr("optimum_evoesap.reports.inspection.inspect_model", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        cli("inspect", "-m", checkpoint)


@pytest.fixture
def unreadable(checkpoint, tmp_path):
    """The checkpoint with weights that nobody may read."""
    folder = tmp_path / "unreadable"
    shutil.copytree(checkpoint, folder)
    (folder / "model.safetensors").write_bytes(b"not weights")
    return folder


@pytest.mark.parametrize("command", ["prune", "sweep"])
def test_what_can_be_wrong_is_told_before_the_weights(command, cli, unreadable, data, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    out, empty = tmp_path / "out", tmp_path / "empty.jsonl"
    empty.touch()
    run = [command, "-m", unreadable, "-o", out, *(["--sparsities", "0.5"] if command == "sweep" else [])]
    data = ["--calibration-dataset", data, "--search-dataset", data]
    check_error(cli(*run, *data, "--device-map", "cuda:99"), "device_map='cuda:99'", "this machine has")
    gone = tmp_path / "gone.jsonl"
    check_error(cli(*run, *data, "--search-dataset", gone), "search data", "gone.jsonl", "does not exist")
    check_error(cli(*run, *data, "--calibration-dataset", empty), "calibration data", "empty.jsonl is empty")
    check_error(cli(*run, *data, "--columns", "text=txt"), "`columns` names 'txt'", "did you mean 'text'")
    if command == "prune":
        check_error(
            cli(*run, *data, "--push-to-hub", "--hub-model-id", "me/x"), "needs an access token", "hf auth login"
        )
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (unreadable / file).unlink()
    check_error(cli(*run, *data), "holds text", "has no tokenizer that can be used", "--tokenizer")
    assert not out.exists()


def test_a_push_after_apply_is_checked_before_the_weights(cli, unreadable, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    apply = ["apply", "--result", tmp_path, "-m", unreadable, "-o", tmp_path / "out", "--push-to-hub"]
    check_error(cli(*apply), "needs an access token")
