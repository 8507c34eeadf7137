# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The push: one commit that holds every file and loads back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import OlmoeConfig, OlmoeForCausalLM

from optimum_evoesap.reports.card import create_model_card
from optimum_evoesap.reports.result import PruningResult
from tests.checkpoint.pushing import REPO, local_files, push
from tests.hub_process import run
from tests.hub_server import check_card


INPUT = [[1, 5, 9, 2, 7, 3, 8, 4]]

LOAD = """
import json, sys
import torch
from huggingface_hub import ModelCard
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM
from tests.memory import aligned

repo_id, ids, output = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
# Laid out in memory, and summed by as many threads, as in the test: some processors round otherwise.
torch.set_num_threads(1)
model = aligned(AutoModelForCausalLM.from_pretrained(repo_id).eval())
with torch.no_grad():
    save_file({"logits": model(torch.tensor(ids)).logits}, output)
card = ModelCard.load(repo_id)
config = AutoConfig.from_pretrained(repo_id)
print(json.dumps({"class": type(model).__name__, "experts": config.num_experts, "card": card.data.to_dict()}))
"""

PRUNE = """
import json, sys
from pathlib import Path
from tests.pruning import make_pruner, rows

make_pruner(allocation="uniform").prune(sys.argv[1], rows())
for name in (".env", "notes.txt", "runs/log"):
    path = Path(sys.argv[1], name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("of the user")

pruner = make_pruner(allocation=[1, 2, 3], base="/home/me/model")
times, save = [], type(pruner.model).save_pretrained
type(pruner.model).save_pretrained = lambda self, *args, **kwargs: times.append(1) or save(self, *args, **kwargs)
pruner.prune(sys.argv[1], rows(), push_to_hub=True, hub_model_id=sys.argv[2], commit_message="Pruned", private=True)
print(json.dumps(len(times)))
"""


@pytest.fixture(scope="module")
def model() -> OlmoeForCausalLM:
    torch.manual_seed(0)
    config = OlmoeConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_experts=6,
        num_experts_per_tok=2,
        pad_token_id=0,
        eos_token_id=1,
    )
    return OlmoeForCausalLM(config).eval()


@pytest.fixture(scope="module")
def checkpoint(model: OlmoeForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real checkpoint in several shards, with its card and its record."""
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder, max_shard_size="30KB")
    result = PruningResult(
        base_model="allenai/OLMoE-1B-7B-0125-Instruct",
        model_type="olmoe",
        criterion="reap",
        fitness=None,
        sparsity=0.25,
        budget=4,
        sparse_layers=[0, 1],
        num_experts=[8, 8],
        allocation=[2, 2],
        kept_experts={0: [0, 1, 2, 3, 4, 5], 1: [2, 3, 4, 5, 6, 7]},
    )
    result.save(folder)
    create_model_card(result, {"sparsity": 0.25}, base_card_data={"license": "apache-2.0"}).save(folder / "README.md")
    return folder


def test_one_commit_holds_every_file_and_loads_back(hub_server, tmp_path, checkpoint, model):
    answer = push(hub_server, tmp_path / "pusher", checkpoint)

    assert len(hub_server.pushed_commits(REPO)) == 1
    assert answer["oid"] == hub_server.pushed_commits(REPO)[0].oid
    assert answer["url"].endswith(answer["oid"])
    assert hub_server.files(REPO) == local_files(checkpoint)
    shards = [name for name in hub_server.files(REPO) if name.endswith(".safetensors")]
    assert len(shards) > 2
    assert len([line for line in hub_server.requests if line.startswith("PUT /lfs/")]) == len(shards)

    # The push had the card checked. (`ModelCard.validate` of huggingface_hub 1.x asks huggingface.co, whatever the
    # endpoint, so it cannot be called here.)
    assert "POST /api/validate-yaml" in hub_server.requests
    assert check_card((checkpoint / "README.md").read_text()) == []

    # Another process with an empty cache: nothing can come from anywhere but the server.
    logits = tmp_path / "logits.safetensors"
    loaded = run(hub_server, tmp_path / "loader", LOAD, REPO, json.dumps(INPUT), str(logits))
    with torch.no_grad():
        expected = model(torch.tensor(INPUT)).logits
    assert (load_file(logits)["logits"] - expected).abs().max().item() == 0.0
    assert (loaded["class"], loaded["experts"]) == ("OlmoeForCausalLM", 6)
    assert loaded["card"]["base_model"] == "allenai/OLMoE-1B-7B-0125-Instruct"
    assert loaded["card"]["license"] == "apache-2.0"


def test_a_pruned_model_is_written_once_and_pushed_from_there(hub_server, tmp_path):
    folder = tmp_path / "out"
    assert run(hub_server, tmp_path / "home", PRUNE, str(folder), REPO) == 1
    (commit,) = hub_server.pushed_commits(REPO)
    assert commit.message == "Pruned" and hub_server.repositories[REPO].private
    local, pushed = local_files(folder), hub_server.files(REPO)
    assert local.keys() - pushed.keys() == {".env", "notes.txt", "runs/log"}, "what the user keeps there is not pushed"
    assert pushed.keys() < local.keys() and "model.safetensors" in pushed
    # What is public names the repository and no file of this machine; the local files stay as they were.
    different = {name for name in pushed if local[name] != pushed[name]}
    assert different == {"README.md", "evoesap_result.json"}
    assert REPO in pushed["README.md"].decode() and REPO not in local["README.md"].decode()
    assert b"/home/me" in local["evoesap_result.json"] and b"/home/me" not in pushed["evoesap_result.json"]


def test_a_large_folder_stays_one_commit_where_xet_is_installed(hub_server, tmp_path):
    pytest.importorskip("hf_xet")
    folder = tmp_path / "many"
    folder.mkdir()
    for name in ["config", *(f"part-{number}" for number in range(300))]:
        (folder / f"{name}.json").write_text(f'{{"name": "{name}"}}')
    names = sorted(local_files(folder))
    push(hub_server, tmp_path / "home", folder, names=names, environment={"HF_HUB_DISABLE_XET": "0"})
    assert len(hub_server.pushed_commits(REPO)) == 1
    assert hub_server.files(REPO) == local_files(folder)


def test_private_and_message_arrive(hub_server, tmp_path, small):
    push(hub_server, tmp_path / "home", small, private=True, commit_message="Half the experts")
    push(hub_server, tmp_path / "home", small, repo_id="tester/open")
    assert hub_server.repositories[REPO].private
    assert not hub_server.repositories["tester/open"].private
    assert hub_server.pushed_commits(REPO)[0].message == "Half the experts"
    assert hub_server.pushed_commits("tester/open")[0].message == "Upload a model pruned with optimum-evoesap"


def test_a_name_without_namespace_goes_to_the_user(hub_server, tmp_path, small):
    push(hub_server, tmp_path / "home", small, repo_id="olmoe-pruned")
    assert hub_server.files("tester/olmoe-pruned") == local_files(small)


def test_revision_is_a_branch_of_its_own(hub_server, tmp_path, small):
    hub_server.add_repository(REPO, {"README.md": b"# main"})
    push(hub_server, tmp_path / "home", small, revision="sparsity-50")
    assert hub_server.files(REPO) == {"README.md": b"# main"}
    assert hub_server.files(REPO, "sparsity-50") == {"README.md": b"# main"} | local_files(small)

    (small / "config.json").write_text('{"model_type": "olmoe", "num_experts": 4}')
    push(hub_server, tmp_path / "home", small, revision="sparsity-50")
    assert len(hub_server.pushed_commits(REPO, "sparsity-50")) == 2
    assert hub_server.files(REPO, "sparsity-50")["config.json"] == (small / "config.json").read_bytes()


def test_create_pr_leaves_main_alone(hub_server, tmp_path, small):
    hub_server.add_repository(REPO)
    answer = push(hub_server, tmp_path / "home", small, create_pr=True)
    assert answer["pr_url"] == f"{hub_server.endpoint}/{REPO}/discussions/1"
    assert hub_server.pushed_commits(REPO) == []
    assert hub_server.files(REPO, "refs/pr/1") == local_files(small)

    # A further commit goes to the pull request that is open.
    (small / "README.md").write_text("---\nlicense: mit\n---\n")
    push(hub_server, tmp_path / "home", small, revision="refs/pr/1")
    assert "README.md" in hub_server.files(REPO, "refs/pr/1")
    assert hub_server.repositories[REPO].pull_requests == 1


def test_weights_of_an_earlier_checkpoint_go_in_the_same_commit(hub_server, tmp_path, checkpoint):
    # transformers reads model.safetensors first: left there, it would be loaded instead of the shards.
    old = {"model.safetensors": b"old", "model-00001-of-00099.safetensors": b"old", "notes.txt": b"mine"}
    hub_server.add_repository(REPO, old | {"onnx/model.safetensors": b"other"})
    push(hub_server, tmp_path / "home", checkpoint)
    expected = local_files(checkpoint) | {"notes.txt": b"mine", "onnx/model.safetensors": b"other"}
    assert hub_server.files(REPO) == expected
    assert len(hub_server.pushed_commits(REPO)) == 2  # the test's and the push


def test_pushing_the_same_again_adds_no_commit(hub_server, tmp_path, small):
    first = push(hub_server, tmp_path / "home", small)
    again = push(hub_server, tmp_path / "home", small)
    assert again["oid"] == first["oid"]
    assert len(hub_server.pushed_commits(REPO)) == 1
