# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""That the matrix has every sparse architecture of the installed transformers, and what the others are told."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, FineGrainedFP8Config

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.adapters import find_moe_layers, model_structure
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.models.surgery import remove_experts
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.model_matrix import ROWS, make_model, sparse_model_of


# Configs with an expert count that are no decoder language model, or are refused.
NOT_IN_MATRIX = {
    "DbrxFFNConfig": "a part of dbrx",
    "doge": "refused: its router spans a grid of experts",
    "dots3_note_vision_encoder": "the vision tower of dots3_note, which stays whole",
    "nllb-moe": "refused: encoder and decoder, with an expert capacity",
    "openai_privacy_filter": "classifies tokens",
    "qwen3_omni_moe_talker_text": "speaks; the thinker of the same model is in the matrix",
    "switch_transformers": "refused: encoder and decoder, with an expert capacity",
    "vitpose_backbone": "finds poses in images",
}


def sparse_configs() -> Iterator[tuple[str, str]]:
    """Model types whose config class declares a number of experts, and the file: read, not imported."""
    for path in sorted((Path(transformers.__file__).parent / "models").glob("*/configuration_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and any(_is_expert_count(statement) for statement in node.body):
                names = [_model_type(statement) for statement in node.body]
                yield next((name for name in names if name), node.name), path.name


def _is_expert_count(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
        return any("expert" in argument.arg for argument in statement.args.args)
    is_field = isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    return is_field and "expert" in statement.target.id and "int" in ast.unparse(statement.annotation).split(" | ")


def _model_type(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
        if [getattr(target, "id", None) for target in statement.targets] == ["model_type"]:
            return str(statement.value.value)
    return None


def test_every_sparse_model_type_of_transformers_is_in_the_matrix():
    covered = set(NOT_IN_MATRIX)
    for row in ROWS.values():
        # Also rows that this release does not have yet, or in another form: they are no news.
        covered.add(row.model_type)
        if row.is_installed:
            config = row.make_config()
            covered |= {config.model_type, config.get_text_config(decoder=True).model_type}
    found = dict(sparse_configs())
    assert len(found) > 60, "the search must find what is there"
    news = {name: file for name, file in found.items() if name not in covered}
    assert not news, f"transformers {transformers.__version__} has sparse model types without a row: {news}"


def test_every_row_of_this_release_is_there():
    """A row that is left out by its `since` alone must not hide that a model type has gone."""
    for row in ROWS.values():
        if row.is_installed:
            assert row.load_class().__name__ == row.model_class.rpartition(":")[2]


def test_the_page_of_architectures_is_that_of_the_matrix():
    if not all(row.is_installed for row in ROWS.values()):
        pytest.skip("the page is made with the release that has all architectures")
    from docs.make_architectures import PAGE, make_page

    assert PAGE.read_text() == make_page(), "run `make docs`"


def test_an_adapter_of_ones_own_gives_the_same_logits_virtually_and_really():
    """The model of the documentation, whose experts are called in a way that the package does not know."""
    from examples.own_architecture import GatedConfig, GatedForCausalLM, GateMatrixExperts

    torch.manual_seed(0)
    model = GatedForCausalLM(GatedConfig()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    tokens = torch.randint(0, 64, (2, 12))
    layers, structure = find_moe_layers(model), model_structure(model)
    assert all(isinstance(layer.blocks[0], GateMatrixExperts) and layer.top_k == 2 for layer in layers)
    kept = {0: [1, 4, 6], 1: [0, 7], 2: [0, 1, 2, 3, 5]}
    with torch.no_grad():
        with VirtualSlice(layers, kept):
            virtual = model(tokens).logits
        statistics = observe_experts(sparse_model_of(model), [{"input_ids": tokens}], progress=False)
        assert int(statistics.layers[1].routed_tokens.sum()) == 2 * tokens.numel()
        assert not torch.equal(model(tokens).logits, virtual)
        assert torch.equal(remove_experts(model, layers, structure, kept)(tokens).logits, virtual)


def test_a_grid_of_experts_is_refused():
    config = AutoConfig.for_model(
        "doge",
        vocab_size=96,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_experts=64,
        num_experts_per_tok=2,
        is_moe=True,
    )
    with pytest.raises(ValueError, match="DogeForCausalLM.*not supported"):
        MoEPruner(AutoModelForCausalLM.from_config(config))


@pytest.mark.parametrize(
    "model_type,options",
    [
        ("switch_transformers", {"num_layers": 2, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1}),
        ("nllb-moe", {"encoder_layers": 2, "decoder_layers": 2, "encoder_sparse_step": 1, "decoder_sparse_step": 1}),
    ],
)
def test_encoder_decoder_models_are_refused(model_type, options):
    sizes = {"vocab_size": 96, "d_model": 32, "d_kv": 8, "d_ff": 32, "num_heads": 4, "num_experts": 8}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    config = AutoConfig.for_model(model_type, **sizes, **heads, **options)
    with pytest.raises(ValueError, match="encoder and a decoder"):
        MoEPruner(AutoModelForSeq2SeqLM.from_config(config))


def test_a_dense_model_is_refused():
    config = AutoConfig.for_model("llama", vocab_size=96, hidden_size=32, intermediate_size=32, num_hidden_layers=1)
    with pytest.raises(ValueError, match="no routed experts"):
        MoEPruner(AutoModelForCausalLM.from_config(config))


def test_peft_models_are_refused_until_they_are_merged():
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    wrapped = get_peft_model(make_model("olmoe"), lora)
    with pytest.raises(ValueError, match="merge_and_unload"):
        MoEPruner(wrapped)
    with pytest.raises(ValueError, match="lora_A.*merge_and_unload"):
        MoEPruner(wrapped.base_model.model)
    merged = wrapped.merge_and_unload()
    with torch.no_grad():
        before = merged(torch.arange(3, 9)[None]).logits
    pruner = MoEPruner(merged, EvoESAPConfig(allocation=[1, 0, 2]))
    assert pruner.sparse_layers == [0, 1, 2]
    with torch.no_grad():
        assert torch.equal(before, pruner.model(torch.arange(3, 9)[None]).logits)


def test_a_quantized_checkpoint_is_pruned_once_it_is_dequantized(tmp_path):
    """The remedy that the error for quantized models names, on a checkpoint in the FP8 format of DeepSeek."""
    model, block = make_model("olmoe"), 8
    model.save_pretrained(tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    tensors = {}
    for name, value in load_file(file).items():
        if name.endswith("_proj.weight"):
            blocks = value.unflatten(0, (-1, block)).unflatten(2, (-1, block))
            scale = blocks.abs().amax((1, 3)) / torch.finfo(torch.float8_e4m3fn).max
            tensors[f"{name}_scale_inv"] = scale
            value = (blocks / scale[:, None, :, None]).reshape(value.shape).to(torch.float8_e4m3fn)
        tensors[name] = value
    save_file(tensors, file, metadata={"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [block, block]}
    (tmp_path / "config.json").write_text(json.dumps(config))

    quantization = FineGrainedFP8Config(dequantize=True, weight_block_size=(block, block))
    pruner = MoEPruner.from_pretrained(tmp_path, EvoESAPConfig(allocation=[1, 0, 2]), quantization_config=quantization)
    for mine, theirs in zip(find_moe_layers(model), pruner.layers):
        for one, other in zip(mine.blocks[0].expert_parts, theirs.blocks[0].expert_parts):
            torch.testing.assert_close(one.value, other.value, rtol=0.07, atol=0.01)
