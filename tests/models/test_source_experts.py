# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Where files hold experts, also in forms that the class does not have: quantized, with scales beside them."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from optimum_evoesap.checkpoint.shards import check_files, write_sliced_files
from optimum_evoesap.models.source_experts import AllExperts, OneExpert, understand_source
from tests.model_matrix import layers_of, make_model, random_kept, sparse_model_of


def tensors_of(model_type, folder):
    model = make_model(model_type).cpu()
    model.save_pretrained(folder)
    return model, load_file(folder / "model.safetensors")


def sliced(model, tensors, kept, folder):
    save_file(tensors, folder / "source.safetensors")
    (folder / "out").mkdir()
    files = [folder / "source.safetensors"]
    write_sliced_files(folder / "out", files, check_files(files, sparse_model_of(model), str(folder)), kept)
    return load_file(folder / "out" / "source.safetensors")


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def as_fp8(name, tensor):
    """In blocks with a scale each."""
    return {name: tensor.to(torch.float8_e4m3fn), f"{name}_scale_inv": torch.rand(2, 2)}


def as_nvfp4(name, tensor):
    """Packed, with scales of several kinds."""
    stem, packed = name.removesuffix("weight"), torch.randint(0, 255, (tensor.shape[0], 4), dtype=torch.uint8)
    return {
        f"{stem}weight_packed": packed,
        f"{stem}weight_scale": torch.rand(tensor.shape[0], 2).to(torch.float8_e4m3fn),
        f"{stem}weight_global_scale": torch.rand(1),
        f"{stem}input_global_scale": torch.rand(1),
    }


def as_gptq(name, tensor):
    stem = name.removesuffix("weight")
    return {f"{stem}{part}": torch.randint(0, 9, (3, 5), dtype=torch.int32) for part in ("qweight", "qzeros", "g_idx")}


@pytest.mark.parametrize("model_type", ["olmoe", "deepseek_v3", "mixtral", "ernie4_5_moe"])
@pytest.mark.parametrize("quantized", [as_fp8, as_nvfp4, as_gptq])
def test_kept_experts_keep_their_bytes_and_those_beside_them(quantized, model_type, tmp_path):
    model, tensors = tensors_of(model_type, tmp_path / "model")
    singles = {name for name in tensors if ".experts." in name}
    source = {name: tensor for name, tensor in tensors.items() if name not in singles}
    for name in singles:
        source |= quantized(name, tensors[name])
    kept = random_kept(layers_of(model), 1)
    found = sliced(model, source, kept, tmp_path)
    layers = {layer.index: layer for layer in layers_of(model)}
    for name, tensor in source.items():
        parts = name.split(".")
        if "experts" not in parts or not parts[parts.index("experts") + 1].isdigit():
            continue
        layer, place = int(parts[2]), parts.index("experts") + 1
        experts = kept.get(layer, range(layers[layer].num_experts))
        if int(parts[place]) in experts:
            parts[place] = str(list(experts).index(int(parts[place])))
            assert torch.equal(bits(found[".".join(parts)]), bits(tensor)), name
    experts = [name for name in found if ".experts." in name]
    per_expert = len(quantized("x.weight", torch.ones(8, 8))) * 3
    assert len(experts) == sum(per_expert * len(kept.get(index, range(layers[index].num_experts))) for index in layers)


def test_experts_in_one_tensor_of_blocks_with_scales(tmp_path):
    """As gpt-oss is published: the numbers in blocks, a byte of scale a block, biases as they are."""
    model, tensors = tensors_of("gpt_oss", tmp_path / "model")
    source, packed = {}, {}
    for name, tensor in tensors.items():
        if name.endswith(("gate_up_proj", "down_proj")):
            blocks = torch.randint(0, 255, (len(tensor), 6, 2, 16), dtype=torch.uint8)
            packed |= {f"{name}_blocks": blocks, f"{name}_scales": blocks[..., 0].contiguous()}
        else:
            source[name] = tensor
    assert packed
    kept = random_kept(layers_of(model), 1)
    found = sliced(model, source | packed, kept, tmp_path)
    for name, tensor in packed.items():
        assert torch.equal(found[name], tensor[list(kept[int(name.split(".")[2])])])


def test_experts_packed_into_one_another_are_refused(tmp_path):
    model, tensors = tensors_of("gpt_oss", tmp_path / "model")
    name = next(name for name in tensors if name.endswith("gate_up_proj"))
    flat = {name: torch.zeros(tensors[name].numel() // 2 + 1, 1, dtype=torch.uint8)}
    with pytest.raises(ValueError, match=f"{name}.*packed"):
        sliced(model, tensors | flat, random_kept(layers_of(model), 1), tmp_path)


def test_files_without_the_experts_are_refused(tmp_path):
    model, tensors = tensors_of("olmoe", tmp_path / "model")
    renamed = {name.replace(".experts.", ".specialists."): tensor for name, tensor in tensors.items()}
    with pytest.raises(ValueError, match="no tensor of expert 0 of layer 0"):
        sliced(model, renamed, random_kept(layers_of(model), 1), tmp_path)
    without = {name: tensor for name, tensor in tensors.items() if ".experts.3." not in name}
    with pytest.raises(ValueError, match="no tensor of expert|packed"):
        understand_source(model, layers_of(model), {name: tensor.shape for name, tensor in without.items()})


def test_what_is_beside_experts_and_not_of_one_stays(tmp_path):
    """A scale of all, and shared experts whose scales have names like those of the others."""
    model, tensors = tensors_of("deepseek_v3", tmp_path / "model")
    shared = next(name for name in tensors if "shared_experts.down_proj" in name)
    layer = layers_of(model)[0].index
    extra = {f"{shared}_scale_inv": torch.rand(8, 8), f"model.layers.{layer}.mlp.experts.input_scale": torch.rand(1)}
    shapes = {name: tuple(tensor.shape) for name, tensor in (tensors | extra).items()}
    held = understand_source(model, layers_of(model), shapes).held
    assert not extra.keys() & held.keys()
    kinds = {type(each) for each in held.values()}
    assert kinds == {OneExpert, AllExperts}
