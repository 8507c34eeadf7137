# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The step that builds models whose layers have different expert counts, and the checkpoints it is for."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations.heterogeneity import AmbiguousGlobalPerLayerAttributeError

import optimum_evoesap  # noqa: F401  (lets transformers build the pruned checkpoints)
from optimum_evoesap.adapters import find_moe_layers, model_structure
from optimum_evoesap.heterogeneous.attributes import per_layer_overrides
from optimum_evoesap.models.surgery import remove_experts, write_expert_counts
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.model_matrix import make_config, make_model, random_kept, random_tokens


TOKENS = random_tokens(2, 24)


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(TOKENS).logits


@pytest.fixture(scope="module")
def pruned_olmoe(tmp_path_factory):
    """A model pruned non-uniformly and its checkpoint."""
    folder = tmp_path_factory.mktemp("olmoe")
    model = make_model("olmoe")
    layers = find_moe_layers(model)
    kept = random_kept(layers, 1)
    remove_experts(model, layers, model_structure(model), kept)
    model.save_pretrained(folder, max_shard_size="20KB")
    return {"model": model, "kept": kept, "folder": folder}


FRESH_PROCESS = """
import sys, torch
{statement}
folder, expected = sys.argv[1], torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    logits = {loader}.from_pretrained(folder)(expected["tokens"]).logits
assert torch.equal(logits, expected["logits"]), (logits - expected["logits"]).abs().max()
"""


@pytest.mark.parametrize(
    "statement,loader",
    [
        ("import optimum_evoesap\nfrom transformers import AutoModelForCausalLM", "AutoModelForCausalLM"),
        ("from transformers import AutoModelForCausalLM\nimport optimum_evoesap", "AutoModelForCausalLM"),
        ("from optimum_evoesap import EvoESAPModelForCausalLM", "EvoESAPModelForCausalLM"),
    ],
    ids=["import-first", "import-last", "own-class"],
)
def test_reload_in_a_fresh_process(pruned_olmoe, statement, loader, tmp_path):
    expected = tmp_path / "expected.pt"
    torch.save({"tokens": TOKENS, "logits": logits(pruned_olmoe["model"])}, expected)
    code = FRESH_PROCESS.format(statement=statement, loader=loader)
    done = subprocess.run(
        [sys.executable, "-c", code, str(pruned_olmoe["folder"]), str(expected)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_without_the_package_transformers_refuses(pruned_olmoe):
    """The trap that the building step is for: stock transformers must not load such a checkpoint silently."""
    code = "import sys; from transformers import AutoModelForCausalLM as A; A.from_pretrained(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(pruned_olmoe["folder"])], capture_output=True, text=True)
    assert done.returncode != 0 and "AmbiguousGlobalPerLayerAttributeError" in done.stderr


def test_overrides_that_are_there_already_stay():
    config = make_config("olmoe")
    config.per_layer_config = {0: {"clip_qkv": 5.0}}
    write_expert_counts(config, "num_experts", {0: 3, 1: 5, 2: 8})
    assert per_layer_overrides(config) == {0: {"clip_qkv": 5.0, "num_experts": 3}, 1: {"num_experts": 5}}
    write_expert_counts(config, "num_experts", {0: 4, 1: 4, 2: 4})
    assert per_layer_overrides(config) == {0: {"clip_qkv": 5.0}} and config.num_experts == 4


def test_a_failed_construction_leaves_no_trace(pruned_olmoe, monkeypatch, tmp_path):
    from transformers.models.olmoe import modeling_olmoe

    config = AutoConfig.from_pretrained(pruned_olmoe["folder"])
    with monkeypatch.context() as broken:
        broken.setattr(modeling_olmoe.OlmoeRotaryEmbedding, "__init__", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            AutoModelForCausalLM.from_config(config)
    assert "allow_global" not in config.to_json_string()
    config.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_config(config)
    assert [layer.num_experts for layer in find_moe_layers(model)] == [len(k) for k in pruned_olmoe["kept"].values()]
    with pytest.raises(AmbiguousGlobalPerLayerAttributeError):
        _ = config.num_experts  # as transformers has it, once no model is under construction


def test_one_config_builds_models_in_several_threads(pruned_olmoe):
    from concurrent.futures import ThreadPoolExecutor

    config = AutoConfig.from_pretrained(pruned_olmoe["folder"])
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: AutoModelForCausalLM.from_config(config), range(8)))
    expected = [len(kept) for kept in pruned_olmoe["kept"].values()]
    assert all([layer.mlp.gate.num_experts for layer in model.model.layers] == expected for model in models)


def test_a_layer_that_does_not_take_its_config_is_noticed(pruned_olmoe, monkeypatch):
    from transformers.models.olmoe import modeling_olmoe

    for each in (modeling_olmoe.OlmoeDecoderLayer, modeling_olmoe.OlmoeAttention):
        unwrapped = each.__init__.__wrapped__
        # Its parameters do not tell that one of them is the index of a layer.
        monkeypatch.setattr(each, "__init__", lambda *parts, own=unwrapped, **named: own(*parts, **named))
    with pytest.raises(RuntimeError, match="did not take its own config"):
        AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(pruned_olmoe["folder"]))


def test_a_pruned_model_compiles_in_one_graph(pruned_olmoe):
    model = AutoModelForCausalLM.from_pretrained(pruned_olmoe["folder"], experts_implementation="batched_mm")
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(logits(compiled), logits(model))


def test_a_count_under_an_alias_is_taken(pruned_olmoe):
    """Another transformers release may have written the count under the name that is an alias in this one."""
    config = make_config("olmoe")
    config.per_layer_config = {0: {"num_local_experts": 3}, 2: {"num_local_experts": 5}}
    model = AutoModelForCausalLM.from_config(config)
    assert [layer.num_experts for layer in find_moe_layers(model)] == [3, 8, 5]


def test_only_configs_of_living_models_are_read_in_silence(tmp_path):
    """A model with a text model inside reads the config-wide count for its auxiliary loss when it runs."""
    model = make_model("qwen3_vl_moe")
    layers = find_moe_layers(model)
    remove_experts(model, layers, model_structure(model), random_kept(layers, 1))
    model.save_pretrained(tmp_path)
    reloaded = type(model).from_pretrained(tmp_path)
    other = AutoConfig.from_pretrained(tmp_path).text_config

    def aux_loss(of) -> torch.Tensor:
        return of(input_ids=TOKENS, output_router_logits=True).aux_loss

    unpickled = pickle.loads(pickle.dumps(reloaded))  # after the first run transformers' own hooks are in the way
    expected = aux_loss(reloaded)
    for twin in (copy.deepcopy(reloaded), copy.copy(reloaded), unpickled, model):
        torch.testing.assert_close(aux_loss(twin), expected)
    with pytest.raises(AmbiguousGlobalPerLayerAttributeError):
        _ = other.num_experts
    # Alone, without the model that it was copied from; with a config that came later.
    twin = copy.deepcopy(reloaded)
    del model, reloaded, layers, unpickled
    gc.collect()
    twin.config = copy.deepcopy(twin.config)
    torch.testing.assert_close(aux_loss(twin), expected)
    left = twin.config.text_config
    assert left.num_experts == 8
    del twin
    gc.collect()
    for config in (left, other):
        with pytest.raises(AmbiguousGlobalPerLayerAttributeError):
            _ = config.num_experts


def test_models_without_expert_overrides_are_untouched_by_the_import():
    model = make_model("olmoe")
    assert all(layer.blocks[0].experts[0].config is model.config for layer in find_moe_layers(model))


def test_a_failure_while_slicing_restores_the_model():
    model = make_model("olmoe")
    layers = find_moe_layers(model)
    whole = logits(model)
    kept = random_kept(layers, 5)
    kept[layers[-1].index] = [99]  # no such expert: fails after the first layers are sliced
    with pytest.raises(IndexError), VirtualSlice(layers, kept):
        pass
    assert torch.equal(logits(model), whole)
    assert not layers[0].blocks[0].experts[0]._forward_pre_hooks


def test_a_transformers_of_other_internals_is_left_alone():
    """Whoever has this package installed must still be able to import any model."""
    code = (
        "from transformers.integrations.heterogeneity import configuration_utils as there\n"
        "del there._apply_heterogeneous_config\n"
        "import optimum_evoesap.heterogeneous.validation as ours\n"
        "ours.install()\n"
        "assert not hasattr(there._PerLayerConfigView, ours._MARK)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "This transformers has no _apply_heterogeneous_config" in done.stderr
