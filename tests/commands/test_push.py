# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`optimum-cli evoesap push`: a saved checkpoint to the Hub, and its configuration and result from there."""

from __future__ import annotations

import json

import pytest

from tests.commands.helpers import FAST, data_options
from tests.hub_process import run
from tests.hub_server import TOKEN


COMMAND = """
import json, sys
from optimum_evoesap.commands.main import main

sys.argv = ["python", *json.loads(sys.argv[1])]
main()
print(json.dumps("done"))
"""
READ = """
import json, sys
from optimum_evoesap import EvoESAPConfig, PruningResult

config, result = EvoESAPConfig.from_pretrained(sys.argv[1]), PruningResult.from_pretrained(sys.argv[1])
print(json.dumps([config.to_dict(), result.allocation, result.loaded_from]))
"""


@pytest.fixture
def pruned(cli, checkpoint, data, tmp_path):
    out = tmp_path / "pruned"
    code, _, error = cli("prune", "-m", checkpoint, "-o", out, "--allocation", "1,2,3", *FAST, *data_options(data))
    assert code == 0, error
    return out


def test_a_saved_checkpoint_is_pushed_and_read_back(pruned, data, tmp_path, hub_server):
    others = {".env", "notes.txt", "runs/log", "secrets.json"}
    for name in others:
        (pruned / name).parent.mkdir(exist_ok=True)
        (pruned / name).write_text("of the user")
    command = ["push", str(pruned), "--hub-model-id", "tester/pruned", "--token", TOKEN, "--commit-message", "Mine"]
    run(hub_server, tmp_path / "home", COMMAND, json.dumps(command), token=None)
    files = hub_server.files("tester/pruned")
    assert [each.message for each in hub_server.pushed_commits("tester/pruned", "main")] == ["Mine"]
    assert not others & files.keys() and "tokenizer.json" in files
    assert files["model.safetensors"] == (pruned / "model.safetensors").read_bytes()
    assert "tester/pruned" in files["README.md"].decode() and str(tmp_path) not in files["README.md"].decode()
    assert str(tmp_path).encode() not in files["evoesap_config.json"] + files["evoesap_result.json"]

    config, allocation, source = run(hub_server, tmp_path / "home", READ, "tester/pruned")
    assert allocation == [1, 2, 3] == config["allocation"]
    assert config["calibration_dataset"] == "local data", "a file of this machine is nobody's business"
    assert source["result"] == "tester/pruned" and source["revision"]


def test_other_folders_and_missing_tokens_are_one_line(cli, pruned, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    (tmp_path / "other").mkdir()
    for arguments, words in (
        ([pruned], "needs an access token"),
        ([tmp_path / "other", "--token", "hf_x"], "evoesap_result.json"),
        ([tmp_path / "gone", "--token", "hf_x"], "evoesap_result.json"),
        ([pruned, "--token", "hf_x", "--hub-model-id", "a/b/c"], "is not a repository of the Hub"),
        ([pruned, "--token", "hf_x", "--create-pr", "--hub-revision", "half"], "create_pr"),
    ):
        code, printed, error = cli("push", *arguments)
        assert code == 2 and not printed
        assert error.splitlines()[-1].startswith("error: ") and words in error
