# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The first law, for every architecture: virtual slice = real slice = checkpoint loaded in a fresh process."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations.heterogeneity import AmbiguousGlobalPerLayerAttributeError

import optimum_evoesap  # noqa: F401  (lets transformers build the pruned checkpoints)
from optimum_evoesap.adapters import find_moe_layers, model_structure, per_layer_overrides
from optimum_evoesap.surgery import remove_experts, write_expert_counts
from optimum_evoesap.virtual_slice import VirtualSlice

from .model_matrix import MODEL_TYPES, make_config, make_model, random_kept, random_tokens


TOKENS = random_tokens(2, 24)


@torch.no_grad()
def logits(model, tokens=TOKENS, **inputs) -> torch.Tensor:
    return model(tokens, **inputs).logits


def slice_model(model, seed=1, extreme=False):
    structure = model_structure(model)
    layers = find_moe_layers(model, structure)
    kept = random_kept(layers, seed, extreme)
    virtual = None
    with VirtualSlice(layers, kept):
        virtual = logits(model)
    remove_experts(model, layers, structure, kept)
    return kept, virtual


def make_pruned(model_type, folder):
    model = make_model(model_type)
    whole = logits(model)
    kept, virtual = slice_model(model)
    model.save_pretrained(folder, max_shard_size="20KB")
    return {"model": model, "kept": kept, "virtual": virtual, "whole": whole, "folder": folder}


@pytest.fixture(scope="module", params=MODEL_TYPES)
def pruned(request, tmp_path_factory):
    """A model pruned non-uniformly, its logits under the virtual slice, and its checkpoint in several shards."""
    return make_pruned(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def pruned_olmoe(tmp_path_factory):
    """One architecture, for what costs a process of its own."""
    return make_pruned("olmoe", tmp_path_factory.mktemp("olmoe"))


def test_virtual_slice_is_the_slice_is_the_reload(pruned):
    sliced = logits(pruned["model"])
    assert len({len(kept) for kept in pruned["kept"].values()}) > 1, "the allocation must be non-uniform"
    assert not torch.allclose(sliced, pruned["whole"], atol=1e-2), "pruning must change something"
    assert torch.equal(pruned["virtual"], sliced)
    assert torch.equal(sliced, logits(AutoModelForCausalLM.from_pretrained(pruned["folder"])))


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("seed,extreme", [(2, False), (3, False), (4, True)])
def test_virtual_slice_is_the_slice_for_other_allocations(model_type, dtype, seed, extreme):
    model = make_model(model_type, dtype, seed)
    _, virtual = slice_model(model, seed, extreme)
    assert torch.equal(virtual, logits(model))


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_bfloat16_survives_the_reload(model_type, tmp_path):
    model = make_model(model_type, torch.bfloat16)
    slice_model(model)
    model.save_pretrained(tmp_path)
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert reloaded.dtype == torch.bfloat16
    assert torch.equal(logits(model), logits(reloaded))


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_leaving_the_virtual_slice_restores_the_model_exactly(model_type):
    model = make_model(model_type)
    layers = find_moe_layers(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    identities = {name: id(value) for name, value in model.named_parameters()}
    whole = logits(model)
    with pytest.raises(KeyboardInterrupt), VirtualSlice(layers, random_kept(layers, 5)):
        assert not torch.equal(logits(model), whole)
        raise KeyboardInterrupt
    assert {name: id(value) for name, value in model.named_parameters()} == identities
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(logits(model), whole)


def test_a_failure_while_slicing_restores_the_model():
    model = make_model("olmoe")
    layers = find_moe_layers(model)
    whole = logits(model)
    kept = random_kept(layers, 5)
    kept[layers[-1].index] = [99]  # no such expert: fails after the first layers are sliced
    with pytest.raises(IndexError), VirtualSlice(layers, kept):
        pass
    assert torch.equal(logits(model), whole)
    assert not layers[0].experts._forward_pre_hooks


def test_every_experts_implementation_reaches_every_layer(pruned):
    model = AutoModelForCausalLM.from_pretrained(pruned["folder"])
    expected = logits(model)
    for implementation in ("eager", "batched_mm", "grouped_mm"):
        model.set_experts_implementation(implementation)
        for layer in find_moe_layers(model):
            assert layer.experts.config._experts_implementation == implementation
        torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-4)


def test_every_attention_implementation_reaches_every_layer(pruned):
    model = AutoModelForCausalLM.from_pretrained(pruned["folder"])
    model.set_attn_implementation("eager")
    for layer in model.model.layers:
        assert layer.self_attn.config._attn_implementation == "eager"
    with torch.no_grad():
        attentions = model(TOKENS, output_attentions=True).attentions
    assert len(attentions) == model.config.num_hidden_layers


def test_generate_with_cache_is_generate_without(pruned):
    model = AutoModelForCausalLM.from_pretrained(pruned["folder"])
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    with_cache = model.generate(TOKENS, use_cache=True, **options)
    assert torch.equal(with_cache, model.generate(TOKENS, use_cache=False, **options))
    assert torch.equal(with_cache, pruned["model"].generate(TOKENS, **options))


def test_auxiliary_loss_takes_layers_of_different_size(pruned):
    model = AutoModelForCausalLM.from_pretrained(pruned["folder"])
    outputs = model(TOKENS, labels=TOKENS, output_router_logits=True)
    assert torch.isfinite(outputs.loss)
    if model.config.model_type == "deepseek_v3":
        assert "aux_loss" not in outputs, "DeepSeek-V3 balances its router by its selection bias"
        return
    assert torch.isfinite(outputs.aux_loss) and outputs.aux_loss > 0
    outputs.loss.backward()
    in_memory = pruned["model"](TOKENS, output_router_logits=True)
    torch.testing.assert_close(outputs.aux_loss, in_memory.aux_loss)
    # As transformers computes it, with every missing expert as one that is never chosen.
    most = max(len(kept) for kept in pruned["kept"].values())
    padded = tuple(
        torch.nn.functional.pad(each, (0, most - each.shape[-1]), value=float("-inf"))
        for each in outputs.router_logits
    )
    plain = sys.modules[type(model).__module__].load_balancing_loss_func.__wrapped__
    by_hand = plain(padded, most, find_moe_layers(model)[0].top_k) / most * model.num_experts
    torch.testing.assert_close(outputs.aux_loss, by_hand)


def test_resaving_a_pruned_model_keeps_it(pruned, tmp_path):
    AutoModelForCausalLM.from_pretrained(pruned["folder"]).save_pretrained(tmp_path)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), logits(pruned["model"]))


def test_a_pruned_model_can_be_pruned_again(pruned):
    model = AutoModelForCausalLM.from_pretrained(pruned["folder"])
    layers = find_moe_layers(model)
    assert [layer.num_experts for layer in layers] == [len(kept) for kept in pruned["kept"].values()]
    fullest = max(layers, key=lambda layer: layer.num_experts)
    size = fullest.num_experts // fullest.num_groups
    kept = {fullest.index: [e for e in range(fullest.num_experts) if e % size != 0]}
    with VirtualSlice(layers, kept):
        virtual = logits(model)
    remove_experts(model, layers, model_structure(model), kept)
    assert torch.equal(virtual, logits(model))


def test_a_copy_of_a_pruned_model_is_independent(pruned):
    twin = copy.deepcopy(AutoModelForCausalLM.from_pretrained(pruned["folder"]))
    twin.set_experts_implementation("eager")
    assert torch.allclose(logits(twin), logits(pruned["model"]), atol=1e-4)
    for layer in find_moe_layers(twin):
        assert layer.experts.config._experts_implementation == "eager"


def test_per_layer_config_names_the_attribute_that_is_read(pruned):
    config = json.loads((pruned["folder"] / "config.json").read_text())
    assert "allow_global_per_layer_attribute_access" not in config
    attribute = model_structure(pruned["model"]).attribute
    assert attribute not in type(pruned["model"].config).attribute_map
    counts = {int(layer): values[attribute] for layer, values in config["per_layer_config"].items()}
    # A count equal to the config-wide one needs no override, and transformers drops it.
    kept = {layer: len(experts) for layer, experts in pruned["kept"].items()}
    assert counts == {layer: count for layer, count in kept.items() if count != config[attribute]}


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


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_uniform_result_is_an_ordinary_checkpoint(model_type, tmp_path):
    model = make_model(model_type)
    structure = model_structure(model)
    layers = find_moe_layers(model, structure)
    least = max(layer.min_kept for layer in layers)
    groups = layers[0].num_groups
    size = layers[0].num_experts // groups
    kept = {layer.index: [g * size + e for g in range(groups) for e in range(least // groups)] for layer in layers}
    remove_experts(model, layers, structure, kept)
    model.save_pretrained(tmp_path)
    assert "per_layer_config" not in json.loads((tmp_path / "config.json").read_text())
    assert getattr(AutoConfig.from_pretrained(tmp_path), structure.attribute) == least
    code = (
        "import sys, torch; from transformers import AutoModelForCausalLM as A; "
        "m = A.from_pretrained(sys.argv[1]); assert 'optimum_evoesap' not in sys.modules; "
        "torch.save(m(torch.load(sys.argv[2], weights_only=True)).logits.detach(), sys.argv[2])"
    )
    exchange = tmp_path / "exchange.pt"
    torch.save(TOKENS, exchange)
    if model_type == "olmoe":
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), str(exchange)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert torch.equal(torch.load(exchange, weights_only=True), logits(model))
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), logits(model))


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

    layer = modeling_olmoe.OlmoeDecoderLayer
    unwrapped = layer.__init__.__wrapped__
    monkeypatch.setattr(layer, "__init__", unwrapped)
    monkeypatch.setattr(modeling_olmoe.OlmoeAttention, "__init__", modeling_olmoe.OlmoeAttention.__init__.__wrapped__)
    with pytest.raises(RuntimeError, match="did not take its own config"):
        AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(pruned_olmoe["folder"]))


def test_a_pruned_model_compiles_in_one_graph(pruned_olmoe):
    model = AutoModelForCausalLM.from_pretrained(pruned_olmoe["folder"], experts_implementation="batched_mm")
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(logits(compiled), logits(model))


def test_the_sliced_model_in_memory_reads_the_counts_of_its_layers(pruned):
    attribute = model_structure(pruned["model"]).attribute
    for layer in find_moe_layers(pruned["model"]):
        assert getattr(layer.experts.config, attribute) == len(pruned["kept"][layer.index])


def test_a_count_under_an_alias_is_taken(pruned_olmoe):
    """Another transformers release may have written the count under the name that is an alias in this one."""
    config = make_config("olmoe")
    config.per_layer_config = {0: {"num_local_experts": 3}, 2: {"num_local_experts": 5}}
    model = AutoModelForCausalLM.from_config(config)
    assert [layer.num_experts for layer in find_moe_layers(model)] == [3, 8, 5]


def test_models_without_expert_overrides_are_untouched_by_the_import():
    model = make_model("olmoe")
    assert all(layer.experts.config is model.config for layer in find_moe_layers(model))
