# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Nothing is executed that came with a model or a file, and nothing private is written, logged or pushed."""

from __future__ import annotations

import ast
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch

import optimum_evoesap
from optimum_evoesap import EvoESAPConfig, MoEPruner
from tests.checkpoint.checkpoints import TINY_MOE
from tests.hub_process import run
from tests.hub_server import HubServer
from tests.pruning import SMALL, make_pruner, rows


TOKEN = "hf_canaryTokenOfNobody"
PROMPT = "canaryPrompt"
PLACE = "canaryFolder"
# A run that breaks off in a private folder.
BEGIN = """
import json, logging, os, shutil, sys
import torch; torch.set_num_threads(1)

logging.basicConfig(filename="log.txt", level=logging.DEBUG)
from optimum_evoesap import EvoESAPConfig, MoEPruner

os.chdir("canaryFolder")
pruner = MoEPruner.from_pretrained("me/base", EvoESAPConfig(**json.loads(sys.argv[2])), token=sys.argv[1])
print(pruner, pruner.config)
pruner.apply = lambda *_: (_ for _ in ()).throw(InterruptedError)
try:
    pruner.prune("out")
except InterruptedError:
    shutil.copytree("out", "../state")
    os.rename("out", "../out")
print(json.dumps(os.listdir("../state/.evoesap")))
"""
# It goes on elsewhere, where the relative names lead nowhere, up to the push.
END = """
import json, logging, sys
import torch; torch.set_num_threads(1)

logging.basicConfig(filename="log.txt", level=logging.DEBUG, filemode="a")
from optimum_evoesap import EvoESAPConfig, MoEPruner

pruner = MoEPruner.from_pretrained("me/base", EvoESAPConfig(**json.loads(sys.argv[2])), token=sys.argv[1])
pruner.prune("~/out", push_to_hub=True, hub_model_id="me/pruned", token=sys.argv[1])
print(json.dumps(pruner.result.base_revision))
"""
NAMES = {"calibration_dataset": "secret cal.jsonl:6", "search_dataset": "more, and\nmore.jsonl:5"}


def test_no_token_prompt_or_path_leaves_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / PLACE
    folder.mkdir()
    text = f"{PROMPT} says that the quick brown fox jumps over the lazy dog. "
    for name in NAMES.values():
        rows_of_file = [json.dumps({"text": f"{number} {text}" * 20}) + "\n" for number in range(20)]
        (folder / name.rpartition(":")[0]).write_text("".join(rows_of_file))
    options = SMALL | {"generations": 1, "population_size": 3, "num_elites": 1}
    with HubServer() as hub:
        hub.token, hub.user = TOKEN, "me"
        model = {path.name: path.read_bytes() for path in TINY_MOE.iterdir()}
        hub.add_repository("me/base", model | {"README.md": b"---\nlicense: mit\n---\n"}, private=True)
        saved = run(hub, tmp_path / "home", BEGIN, TOKEN, json.dumps(options | NAMES), token=None)
        assert "statistics.safetensors" in saved and [name for name in saved if name.startswith("search-")]
        names = {option: str(folder / name) for option, name in NAMES.items()}
        home = {"HOME": str(tmp_path)}
        commit = run(hub, tmp_path / "home", END, TOKEN, json.dumps(options | names), token=None, **home)
        assert commit == hub.repositories["me/base"].commit("main").oid
        pushed = hub.files("me/pruned")
    log = (tmp_path / "log.txt").read_text()
    assert "Going on with" in log and "me/pruned" in log
    # On this machine there are names of files, but no token and no text of the data, in no form.
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != folder]
    assert {"statistics.safetensors", "log.txt", "evoesap_result.json"} <= {path.name for path in written}
    for path in written:
        assert TOKEN.encode() not in path.read_bytes() and PROMPT.encode() not in path.read_bytes(), path
    # What others see has no name of this machine either.
    assert "model.safetensors" in pushed and b"license: mit" in pushed["README.md"]
    private = (TOKEN, PROMPT, PLACE, "secret", "more, and", str(tmp_path))
    for name, content in pushed.items():
        assert not [word for word in private if word.encode() in content], name
    assert b"local data" in pushed["README.md"] and b"local data" in pushed["evoesap_config.json"]
    result = json.loads(pushed["evoesap_result.json"])
    assert (result["base_model"], result["base_revision"]) == ("me/base", commit)


SOURCES = sorted(Path(optimum_evoesap.__file__).parent.rglob("*.py"))
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "subprocess"}
UNSAFE_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "torch.load",
    "os.system",
    "os.popen",
    "yaml.load",
    "numpy.load",
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_source_can_execute_what_it_reads(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not {name.partition(".")[0] for name in names} & UNSAFE_MODULES, ast.unparse(node)
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in UNSAFE_CALLS, ast.unparse(node)
            trusted = [each.value for each in node.keywords if each.arg == "trust_remote_code"]
            assert not [each for each in trusted if isinstance(each, ast.Constant) and each.value], ast.unparse(node)


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = str(mark)

    def __reduce__(self):
        return (os.mkdir, (self.mark,))


def test_weights_that_are_a_pickle_are_not_executed(tmp_path):
    base = tmp_path / "base"
    shutil.copytree(TINY_MOE, base)
    (base / "model.safetensors").unlink()
    with pytest.raises(Exception, match=r"."):  # whose error it is does not matter here
        torch.save({"x": Bomb(tmp_path / "ran")}, base / "pytorch_model.bin")
        MoEPruner.from_pretrained(base, EvoESAPConfig(sparsity=0.5))
    (base / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(Exception, match=r"."):
        MoEPruner.from_pretrained(base, EvoESAPConfig(sparsity=0.5))
    assert not (tmp_path / "ran").exists()


def test_state_and_results_that_are_pickles_are_not_executed(tmp_path):
    out = tmp_path / "out"
    (out / ".evoesap").mkdir(parents=True)
    bomb = pickle.dumps(Bomb(tmp_path / "ran"))
    for name in ("statistics.safetensors", "search-000000.json", "lock"):
        (out / ".evoesap" / name).write_bytes(bomb)
    make_pruner(generations=1).prune(out, rows(), rows(seed=1))
    (tmp_path / "result.json").write_bytes(bomb)
    with pytest.raises(ValueError, match="result.json"):
        make_pruner().apply(tmp_path / "result.json")
    assert not (tmp_path / "ran").exists()
