# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`optimum-cli evoesap apply`: the checkpoint of a result, from a folder and from the Hub, and its push."""

from __future__ import annotations

import json

import pytest

from optimum_evoesap import PruningResult
from tests.commands.helpers import FAST, data_options
from tests.hub_process import run
from tests.hub_server import TOKEN


COMMAND = """
import json, sys
from optimum.commands import optimum_cli

sys.argv = ["optimum-cli", "evoesap", *json.loads(sys.argv[1])]
optimum_cli.main()
print(json.dumps("done"))
"""


@pytest.fixture
def pruned(cli, checkpoint, data, tmp_path):
    out = tmp_path / "pruned"
    code, _, error = cli("prune", "-m", checkpoint, "-o", out, "--sparsity", "0.5", *FAST, *data_options(data))
    assert code == 0, error
    return out


def test_apply_from_a_folder(cli, checkpoint, pruned, tmp_path):
    out = tmp_path / "again"
    code, printed, error = cli("apply", "--result", pruned, "-m", checkpoint, "-o", out, "--device-map", "none")
    assert code == 0, error
    assert (out / "model.safetensors").read_bytes() == (pruned / "model.safetensors").read_bytes()
    assert "Measured in the run that found the result" in printed and f"Saved in {out}" in printed
    assert {"tokenizer.json", "README.md", "config.json"} <= {path.name for path in out.iterdir()}
    assert PruningResult.load(out).applied_from["base_model"] == str(checkpoint)


def test_what_does_not_fit_is_one_line(cli, checkpoint, pruned, tmp_path):
    out = tmp_path / "again"
    code, _, error = cli("apply", "--result", tmp_path / "nothing", "-m", checkpoint, "-o", out)
    assert code == 2 and "There is no" in error
    code, _, error = cli("apply", "--result", pruned, "-m", pruned, "-o", out)
    assert code == 2 and "their experts are not the same" in error
    code, _, error = cli("apply", "--result", pruned, "-m", checkpoint, "-o", out, "--private")
    assert code == 2 and "add --push-to-hub" in error
    assert not out.exists()


def test_apply_from_the_hub_and_push(checkpoint, pruned, tmp_path, hub_server):
    result = (pruned / "evoesap_result.json").read_bytes()
    hub_server.add_repository("me/pruned", {"evoesap_result.json": result}, private=True)
    commit = hub_server.repositories["me/pruned"].commit("main").oid
    out = tmp_path / "again"
    command = ["apply", "--result", "me/pruned", "--result-revision", "main", "-m", checkpoint, "-o", out]
    command += ["--token", TOKEN, "--push-to-hub", "--hub-model-id", "tester/again"]
    run(hub_server, tmp_path / "home", COMMAND, json.dumps(list(map(str, command))), token=None)
    assert (out / "model.safetensors").read_bytes() == (pruned / "model.safetensors").read_bytes()
    assert PruningResult.load(out).applied_from["revision"] == commit
    files = hub_server.files("tester/again")
    public = json.loads(files["evoesap_result.json"])
    assert public["applied_from"]["result"] == "me/pruned" and public["applied_from"]["revision"] == commit
    assert public["applied_from"]["base_model"] is None and public["base_model"] is None, "local paths stay here"
    assert str(checkpoint) not in files["README.md"].decode() and "me/pruned" in files["README.md"].decode()
