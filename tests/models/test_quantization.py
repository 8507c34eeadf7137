# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""All forms in which a config says that weights are quantized: read alike by `inspect` and before weights."""

from __future__ import annotations

import json

import pytest

from optimum_evoesap import MoEPruner, inspect_model
from optimum_evoesap.models.quantization import find_quantization
from tests.model_matrix import make_model


FORMS = {
    "fp8": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "bitsandbytes, 4 bits": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "bitsandbytes, 8 bits": {"load_in_8bit": True, "load_in_4bit": False},
    "NVFP4": {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}},
    "W4A8": {"producer": {"name": "someone"}, "quant_algo": "W4A8"},
    "4 bits": {"group_size": 64, "bits": 4},
    "pack-quantized": {"format": "pack-quantized", "config_groups": {"group_0": {}}},
    "by a method that it does not name": {"group_size": 64},
    "q4": "q4",
}


def write(folder, place, entry):
    """A config with an entry, and no weights: reading them would fail."""
    make_model("llama4").save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    *parents, name = place.split(".")
    holder = config
    for parent in parents:
        holder = holder[parent]
    holder[name] = entry
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("method", FORMS)
@pytest.mark.parametrize(
    "place", ["quantization_config", "compression_config", "quantization", "text_config.quantization_config"]
)
def test_every_form_is_refused_before_weights_are_read(method, place, tmp_path):
    if place.endswith("quantization_config") and method == "q4":
        pytest.skip("transformers itself reads no such config")
    write(tmp_path, place, FORMS[method])
    with pytest.raises(ValueError, match="is quantized .*cannot be sliced") as caught:
        MoEPruner.from_pretrained(tmp_path)
    assert f"({method}, says {place} of its config)" in str(caught.value)
    assert inspect_model(tmp_path).quantization == method


@pytest.mark.parametrize("entry", [None, {}, {"load_in_4bit": False, "load_in_8bit": False}, {"quant_method": None}])
@pytest.mark.parametrize("place", ["quantization_config", "text_config.quantization_config", "compression_config"])
def test_what_says_nothing_is_no_quantization(entry, place, tmp_path):
    write(tmp_path, place, entry)
    make_model("llama4").save_pretrained(tmp_path / "whole")
    (tmp_path / "config.json").rename(tmp_path / "whole" / "config.json")
    assert inspect_model(tmp_path / "whole").quantization is None
    pruner = MoEPruner.from_pretrained(tmp_path / "whole", dtype="bfloat16")
    assert str(pruner.model.dtype) == "torch.bfloat16"


def test_values_that_take_the_place_of_the_configs_stay(tmp_path):
    make_model("qwen3_moe").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"quantization_config": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    pruner = MoEPruner.from_pretrained(tmp_path, num_experts_per_tok=3, attn_implementation="eager")
    assert pruner.layers[0].min_kept == 3 and pruner.model.config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("entry", "has_remedy"),
    [(FORMS["fp8"], True), ({"quant_method": "mxfp4"}, True), ({"quant_method": "gptq", "bits": 4}, False)],
)
def test_the_remedy_is_named_where_there_is_one(entry, has_remedy, tmp_path):
    with pytest.raises(ValueError) as caught:
        MoEPruner.from_pretrained(write(tmp_path, "quantization_config", entry))
    assert ("--dequantize" in str(caught.value)) == has_remedy
    assert "tart from the model that it was made from" in str(caught.value)


def test_dequantize_where_it_can_do_nothing(tmp_path):
    with pytest.raises(ValueError, match="dequantize=True would have no effect"):
        MoEPruner.from_pretrained(write(tmp_path, "quantization_config", None), dequantize=True)
    with pytest.raises(ValueError, match=r"gptq.*cannot undo"):
        MoEPruner.from_pretrained(
            write(tmp_path, "quantization_config", {"quant_method": "gptq", "bits": 4}), dequantize=True
        )


def test_a_deep_config_ends():
    config = {"quantization_config": None}
    for _ in range(500):
        config = {"inner": config}
    assert find_quantization(config) is None
