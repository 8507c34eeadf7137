# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A result applied to files, against the same one applied to the loaded model; and what only files have."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from optimum_evoesap import MoEPruner, PruningResult
from optimum_evoesap.checkpoint.apply_to_files import apply_to_files
from tests.model_matrix import layers_of, make_model, random_kept, random_tokens


TOKENS = random_tokens(2, 24)


def saved(model_type, folder, **options):
    model = make_model(model_type, torch.bfloat16).cpu()
    model.save_pretrained(folder, **options)
    return model


@torch.no_grad()
def logits(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()(input_ids=TOKENS).logits


@pytest.mark.parametrize("model_type", ["olmoe", "deepseek_v3", "gpt_oss", "mixtral"])
def test_it_is_what_the_loaded_model_gives(model_type, tmp_path):
    model = saved(model_type, tmp_path / "model", max_shard_size="40KB")
    kept = random_kept(layers_of(model), 1)
    pruner = MoEPruner.from_pretrained(tmp_path / "model", result=None, dtype="auto")
    pruner.apply(kept)
    pruner.save_pretrained(tmp_path / "loaded")
    record = apply_to_files(tmp_path / "model", kept, tmp_path / "files")
    assert torch.equal(logits(tmp_path / "files"), logits(tmp_path / "loaded"))
    loaded, read = (PruningResult.load(tmp_path / name) for name in ("loaded", "files"))
    assert read == record and read.kept_experts == loaded.kept_experts and read.parameters == loaded.parameters
    assert (read.base_weights, read.dtype) == (None, loaded.dtype)
    shards = [{file.name for file in (tmp_path / name).glob("*.safetensors")} for name in ("model", "files")]
    assert shards[0] == shards[1] and len(shards[0]) > 1
    tensors = [tensor for file in (tmp_path / "files").glob("*.safetensors") for tensor in load_file(file).values()]
    assert read.size_in_bytes["after"] == sum(tensor.nbytes for tensor in tensors)
    # A further result takes its place, as one of a loaded model does.
    again = PruningResult.load(tmp_path / "files")
    apply_to_files(tmp_path / "model", again, tmp_path / "loaded")
    assert torch.equal(logits(tmp_path / "files"), logits(tmp_path / "loaded"))


def test_files_of_which_nothing_stays_are_not_written(tmp_path):
    """Here each tensor has a file of its own."""
    folder = tmp_path / "model"
    model = saved("olmoe", folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: f"model-{number:05d}.safetensors" for number, name in enumerate(tensors)}
    for name, file in places.items():
        save_file({name: tensors[name]}, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    kept = random_kept(layers_of(model), 1)
    apply_to_files(folder, kept, tmp_path / "out")
    gone = sum(layer.num_experts - len(kept[layer.index]) for layer in layers_of(model))
    assert gone and len(list((tmp_path / "out").glob("*.safetensors"))) == len(tensors) - 3 * gone
    assert logits(tmp_path / "out").isfinite().all()


def test_float32_routers_and_biases_keep_their_bits(tmp_path):
    model = saved("deepseek_v3", tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    tensors = load_file(path)
    precise = [name for name in tensors if "correction_bias" in name or name.endswith("mlp.gate.weight")]
    tensors |= {name: torch.randn(tensors[name].shape) for name in precise}
    save_file(tensors, path, metadata={"format": "pt"})
    kept = random_kept(layers_of(model), 1)
    apply_to_files(tmp_path / "model", kept, tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    for name in precise:
        layer = int(name.split(".")[2])
        assert torch.equal(found[name], tensors[name][list(kept[layer])]) and found[name].dtype == torch.float32


def quantized(model, folder):
    """As FP8 checkpoints are published: a scale a block beside each weight of experts and attention."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name in [name for name in tensors if name.endswith("proj.weight")]:
        tensors |= {name: tensors[name].to(torch.float8_e4m3fn), f"{name}_scale_inv": torch.rand(1, 1)}
    save_file(tensors, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    (folder / "config.json").write_text(json.dumps(config))
    return tensors


def test_a_quantized_model_keeps_its_bytes_and_its_config(tmp_path):
    model = saved("olmoe", tmp_path / "model")
    tensors = quantized(model, tmp_path / "model")
    kept = random_kept(layers_of(model), 1)
    apply_to_files(tmp_path / "model", kept, tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "fp8"
    for name, tensor in found.items():
        parts = name.split(".")
        if "experts" in parts:
            parts[5] = str(kept[int(parts[2])][int(parts[5])])
            assert torch.equal(tensor.view(torch.uint8), tensors[".".join(parts)].view(torch.uint8))
    assert any(name.endswith("self_attn.q_proj.weight_scale_inv") for name in found)


@pytest.mark.parametrize("uniform", [False, True])
def test_layers_that_the_class_does_not_build(uniform, tmp_path, caplog):
    """They come along where the config still tells them rightly, and otherwise are left out and not claimed."""
    caplog.set_level(logging.WARNING, "optimum_evoesap")
    model = saved("deepseek_v3", tmp_path / "model")
    path, last = tmp_path / "model" / "model.safetensors", model.config.num_hidden_layers
    tensors = load_file(path)
    extra = {
        name.replace(f".{last - 1}.", f".{last}.", 1): tensor.clone()
        for name, tensor in tensors.items()
        if f"layers.{last - 1}." in name
    }
    save_file(tensors | extra, path, metadata={"format": "pt"})
    config = json.loads((tmp_path / "model" / "config.json").read_text()) | {"num_nextn_predict_layers": 1}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    kept = random_kept(layers_of(model), 1)
    if uniform:
        kept = {layer.index: list(range(0, layer.num_experts, 2)) for layer in layers_of(model)}
    apply_to_files(tmp_path / "model", kept, tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    claimed = json.loads((tmp_path / "out" / "config.json").read_text())["num_nextn_predict_layers"]
    if uniform:
        assert not extra.keys() & found.keys() and claimed == 0 and "left out" in caplog.text
    else:
        assert all(torch.equal(found[name], tensor) for name, tensor in extra.items())
        assert claimed == 1 and "come along" in caplog.text
    assert logits(tmp_path / "out").isfinite().all()


def test_what_is_wrong_is_found_before_anything_is_written(tmp_path):
    model = saved("olmoe", tmp_path / "model")
    kept = random_kept(layers_of(model), 1)
    with pytest.raises(ValueError, match="cannot be applied|are of the layers"):
        apply_to_files(tmp_path / "model", {99: [0, 1]}, tmp_path / "out")
    path = tmp_path / "model" / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="cut off"):
        apply_to_files(tmp_path / "model", kept, tmp_path / "out")
    path.unlink()
    torch.save({}, tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(ValueError, match="not in files of safetensors"):
        apply_to_files(tmp_path / "model", kept, tmp_path / "out")
    assert not (tmp_path / "out").exists()
