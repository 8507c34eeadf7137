# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint saved with `remote_code=True` loads where optimum_evoesap is not installed, for every architecture."""

from __future__ import annotations

import json
import logging
import re

import pytest

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.checkpoint.remote_code import CODE, set_remote_code
from tests.model_matrix import MODEL_TYPES, make_model, random_tokens
from tests.remote_code.modeling_listed_moe import ListedMoeForCausalLM

from .checkpoints import TINY_MOE, read_errors, run_fresh, save_pruned, show


WITH_OWN_CODE = "listed_moe"


def save_with_code(folder, name):
    model = save_pruned(folder, name)
    assert set_remote_code(folder, model, True)


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """Where transformers keeps the code of checkpoints."""
    return {"HF_MODULES_CACHE": str(tmp_path_factory.mktemp("modules"))}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remote_code") / "tiny_moe"
    save_with_code(folder, "tiny_moe")
    return folder


def test_every_architecture_loads_without_the_package(tmp_path, modules):
    names = [name for name in MODEL_TYPES if name != WITH_OWN_CODE]
    folders = [tmp_path / re.sub(r"\W", "_", name) for name in names]
    for folder, name in zip(folders, names):
        save_with_code(folder, name)
    code = "from without_package import load_all; load_all(*sys.argv[1:])"
    errors = read_errors(run_fresh(code, "trust", *folders, environment=modules, package=False))
    assert len(errors) == len(names)
    assert not any(errors.values()), show(errors)


def test_a_model_loaded_so_is_like_any_other(tiny, tmp_path, modules):
    code = "from without_package import use; use(*sys.argv[1:])"
    run_fresh(code, tiny, TINY_MOE, tmp_path / "again", environment=modules, package=False)


WITH_THE_PACKAGE = """
from transformers import AutoModelForCausalLM
olmoe, qwen, target = sys.argv[1:]
def check(folder, **options):
    expected = torch.load(folder + "/expected.pt", weights_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, **options)
    with torch.no_grad():
        assert torch.equal(model(input_ids=expected["tokens"]).logits, expected["logits"])
    return model, expected
# Either may come first to a model type.
check(olmoe, trust_remote_code=True)
import optimum_evoesap
for folder in (olmoe, qwen):
    check(folder)
    model, expected = check(folder, trust_remote_code=True)
    model.save_pretrained(target + "/again")
    check(folder)
# What such a model is pruned to is a plain checkpoint where it is uniform.
from optimum_evoesap import EvoESAPConfig, MoEPruner
model, expected = check(olmoe, trust_remote_code=True)
allocation = [len(kept) - 3 for kept in expected["kept"].values()]
pruner = MoEPruner(model, EvoESAPConfig(sparsity=None, allocation=allocation, sequence_length=24))
pruner.prune(target + "/uniform", [{"input_ids": tokens} for tokens in expected["tokens"]], remote_code=True)
assert [layer.num_experts for layer in pruner.layers] == [3] * 8
"""


def test_with_the_package_imported_too(tiny, tmp_path, modules):
    save_with_code(tmp_path / "qwen3_moe", "qwen3_moe")
    run_fresh(WITH_THE_PACKAGE, tiny, tmp_path / "qwen3_moe", tmp_path, environment=modules)
    config = json.loads((tmp_path / "uniform" / "config.json").read_text())
    assert "auto_map" not in config and "per_layer_config" not in config
    assert not (tmp_path / "uniform" / "modeling_evoesap.py").exists()


# Saving


def pruner_of(model, allocation=(1, 2, 3)):
    return MoEPruner(model, EvoESAPConfig(sparsity=None, allocation=list(allocation), sequence_length=16))


def rows():
    return [{"input_ids": tokens} for tokens in random_tokens(4, 16)]


def test_it_is_off_by_default_and_the_card_tells_when_it_is_on(tmp_path):
    pruner = pruner_of(make_model("olmoe"))
    pruner.prune(tmp_path / "plain", rows())
    pruner.save_pretrained(tmp_path / "with_code", remote_code=True)
    for name, has_code in (("plain", False), ("with_code", True)):
        config = json.loads((tmp_path / name / "config.json").read_text())
        assert (tmp_path / name / "modeling_evoesap.py").exists() == ("auto_map" in config) == has_code
        assert ("trust_remote_code" in (tmp_path / name / "README.md").read_text()) == has_code
        assert config.get("auto_map", {}) == ({"AutoConfig": "modeling_evoesap.OlmoeConfig"} if has_code else {})


def test_it_is_pushed_too(monkeypatch):
    pushed = {}

    def push(folder, repo_id, **_):
        pushed[repo_id] = {path.name for path in folder.iterdir()}

    monkeypatch.setattr("optimum_evoesap.checkpoint.write.push_folder", push)
    monkeypatch.setattr("optimum_evoesap.pruner.check_hub", lambda *_, **__: None)
    pruner = pruner_of(make_model("olmoe"))
    pruner.prune(None, rows(), push_to_hub=True, hub_model_id="me/with", remote_code=True, token="a token")
    pruner.push_to_hub("me/without", token="a token")
    assert "modeling_evoesap.py" in pushed["me/with"] and "modeling_evoesap.py" not in pushed["me/without"]


def test_code_of_the_base_model_gives_way_and_that_of_its_tokenizer_stays(tmp_path):
    model = make_model("olmoe")
    own = {"AutoTokenizer": ["their--tokenizer.Own", None]}
    model.config.auto_map = {"AutoConfig": "their--code.Config", "AutoModelForCausalLM": "their--code.Model"} | own
    pruner_of(model).prune(tmp_path / "out", rows(), remote_code=True)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["auto_map"] == own | {"AutoConfig": "modeling_evoesap.OlmoeConfig"}


def test_a_uniform_result_needs_no_code(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="optimum_evoesap"):
        pruner_of(make_model("olmoe"), (2, 2, 2)).prune(tmp_path / "out", rows(), remote_code=True)
    assert "The checkpoint needs no code" in caplog.text
    assert "auto_map" not in json.loads((tmp_path / "out" / "config.json").read_text())
    assert not (tmp_path / "out" / "modeling_evoesap.py").exists()


def test_a_model_with_code_of_its_own_is_refused_before_the_work(tmp_path):
    model = make_model(WITH_OWN_CODE)
    assert type(model) is ListedMoeForCausalLM
    pruner = pruner_of(model, (1, 2))
    pruner.calibrate = lambda *_: pytest.fail("the long work must not start")
    with pytest.raises(ValueError, match="remote_code=True cannot be used with ListedMoeForCausalLM"):
        pruner.prune(tmp_path / "out", rows(), remote_code=True)
    assert not (tmp_path / "out").exists()


def test_without_an_output_it_is_refused():
    with pytest.raises(ValueError, match="remote_code=True has no effect"):
        pruner_of(make_model("olmoe")).prune(None, rows(), remote_code=True)


def test_code_does_not_stay_where_the_next_result_brings_none(tmp_path):
    pruner = MoEPruner(make_model("olmoe"), EvoESAPConfig(allocation=[1, 2, 0]))
    pruner.prune(tmp_path / "out", calibration_data=[{"input_ids": random_tokens(1, 16)[0]}], remote_code=True)
    assert (tmp_path / "out" / CODE.name).is_file()
    pruner.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out" / CODE.name).exists()
    assert "auto_map" not in json.loads((tmp_path / "out" / "config.json").read_text())


def test_code_of_another_repository_is_not_named_by_a_uniform_result(tmp_path):
    model = make_model("olmoe")
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": f"me/olmoe-50--{CODE.stem}.OlmoeConfig"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert not set_remote_code(tmp_path, model, is_wanted=False)
    assert "auto_map" not in json.loads((tmp_path / "config.json").read_text())
