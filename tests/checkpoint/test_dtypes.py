# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Float32 routers and biases of a bfloat16 checkpoint are float32 in the pruned one, of the same values."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult
from tests.model_matrix import layers_of, make_model
from tests.pruning import SMALL, TOKENS, rows


MODEL_TYPES = [
    "olmoe",
    "qwen3_moe",
    "mixtral",
    "deepseek_v3",
    "glm4_moe",
    "gpt_oss",
    "llama4",
    "jamba",
    "longcat_flash",
]


def write_mixed(model_type, folder, **options):
    """A bfloat16 checkpoint whose routers, with their biases, are float32 as many models have them."""
    model = make_model(model_type)
    routers = {id(part.value) for layer in layers_of(model) for block in layer.blocks for part in block.router_tensors}
    for _, tensor in model.named_parameters():
        if id(tensor) not in routers:
            tensor.data = tensor.data.bfloat16()
    model.config.dtype = torch.bfloat16
    model.save_pretrained(folder, **options)
    return {name for name, tensor in stored(folder).items() if tensor.dtype == torch.float32}


def stored(folder):
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def prune(folder, out, change=None, **options):
    pruner = MoEPruner.from_pretrained(folder, EvoESAPConfig(**(SMALL | {"allocation": "uniform"} | options)))
    if change is not None:
        change(pruner.model)
    return pruner.prune(out, rows())


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_float32_stays(model_type, tmp_path):
    wide = write_mixed(model_type, tmp_path / "base")
    model = prune(tmp_path / "base", tmp_path / "out")
    base, pruned = stored(tmp_path / "base"), stored(tmp_path / "out")
    assert wide and {name for name, tensor in pruned.items() if tensor.dtype == torch.float32} == wide
    kept = PruningResult.load(tmp_path / "out").kept_experts
    for name in wide:
        layer = next(int(part) for part in name.split(".") if part.isdigit())
        axis = next((axis for axis, (a, b) in enumerate(zip(base[name].shape, pruned[name].shape)) if a != b), None)
        assert axis is not None, "the router lost experts"
        # Experts that do nothing follow the routed ones in some routers, and stay.
        idle = pruned[name].shape[axis] - len(kept[layer])
        indices = [*kept[layer], *range(base[name].shape[axis] - idle, base[name].shape[axis])]
        assert torch.equal(pruned[name], base[name].index_select(axis, torch.tensor(indices)))
    again = type(model).from_pretrained(tmp_path / "out", dtype="auto").eval()
    with torch.no_grad():
        assert torch.equal(model(input_ids=TOKENS).logits, again(input_ids=TOKENS).logits)


def test_the_index_of_shards_tells_the_size_of_now(tmp_path):
    write_mixed("olmoe", tmp_path / "base", max_shard_size="20kB")
    pruner = MoEPruner.from_pretrained(tmp_path / "base", EvoESAPConfig(**(SMALL | {"allocation": "uniform"})))
    pruner.prune(None, rows())
    pruner.save_pretrained(tmp_path / "out", max_shard_size="20kB")
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in stored(tmp_path / "out").values())
    for file in (tmp_path / "out").glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            assert tensors.metadata() == {"format": "pt"}


def test_what_was_trained_since_stays_and_is_said(tmp_path, caplog):
    def train(model):
        with torch.no_grad():
            layers_of(model)[1].blocks[0].router_tensors[0].value.mul_(2)

    wide = write_mixed("olmoe", tmp_path / "base")
    prune(tmp_path / "base", tmp_path / "out", train)
    result = PruningResult.load(tmp_path / "out")
    assert result.cast_tensors == ["model.layers.1.mlp.gate.weight"]
    assert set(result.float32_tensors) == wide - {*result.cast_tensors}
    assert stored(tmp_path / "out")["model.layers.1.mlp.gate.weight"].dtype == torch.bfloat16
    assert "written in the dtype of the loaded model" in caplog.text
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "1 tensors, such as `model.layers.1.mlp.gate.weight`, are float32 in the base model and" in card
    assert "are float32 as in the base model" in card


def test_a_float32_checkpoint_that_is_loaded_as_bfloat16_is_written_so(tmp_path):
    make_model("olmoe").save_pretrained(tmp_path / "base")
    pruner = MoEPruner.from_pretrained(
        tmp_path / "base", EvoESAPConfig(**(SMALL | {"allocation": "uniform"})), dtype="bfloat16"
    )
    pruner.prune(tmp_path / "out", rows())
    assert {tensor.dtype for tensor in stored(tmp_path / "out").values()} == {torch.bfloat16}


def test_a_checkpoint_of_an_asked_size_becomes_no_larger(tmp_path):
    wide = write_mixed("olmoe", tmp_path / "base")
    size = sum(tensor.nbytes for tensor in stored(tmp_path / "base").values())
    prune(tmp_path / "base", tmp_path / "out", sparsity=None, target_size=int(size * 0.7))
    assert sum(tensor.nbytes for tensor in stored(tmp_path / "out").values()) <= size * 0.7
    assert set(PruningResult.load(tmp_path / "out").cast_tensors) == wide
