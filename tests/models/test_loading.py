# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Loading: the model that was checked is the one that is loaded, and code of a checkpoint's own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from transformers import AutoConfig

from optimum_evoesap import MoEPruner
from optimum_evoesap.models.loading import load_bare_model, load_model
from tests import model_matrix
from tests.model_matrix.rows import ROWS
from tests.models.checkpoints import save_config


@pytest.mark.parametrize("model_type", ["olmoe", "llama4", "qwen3_vl_moe"])
def test_the_loaded_model_is_the_one_that_was_checked(model_type, tmp_path):
    model_matrix.make_model(model_type).save_pretrained(tmp_path)
    checked = []
    model = load_model(str(tmp_path), checked.append, dtype="bfloat16").model
    bare = checked[0].model
    assert type(model).__name__ == type(bare).__name__ == ROWS[model_type].model_class
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == {
        name: tensor.shape for name, tensor in bare.state_dict().items()
    }
    assert str(model.dtype) == "torch.bfloat16"


def test_the_text_model_of_a_multimodal_type_loads_and_is_checked(tmp_path):
    model_matrix.make_model("llama4").save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    config.architectures = ["Llama4ForCausalLM"]
    config.save_pretrained(tmp_path)
    checked = []
    model, bare = load_model(str(tmp_path), checked.append).model, checked[0].model
    assert type(model).__name__ == type(bare).__name__ == "Llama4ForCausalLM"
    assert model.num_parameters() == bare.num_parameters()


def test_a_refused_model_reads_no_weights(tmp_path):
    def refuse(sparse_model):
        raise ValueError(f"refused {type(sparse_model.model).__name__}")

    path = save_config(tmp_path, "llama4", "Llama4ForConditionalGeneration")
    with pytest.raises(ValueError, match="refused Llama4ForConditionalGeneration"):
        load_model(path, refuse)


def test_a_folder_that_is_not_there(caplog):
    with pytest.raises(FileNotFoundError, match="There is no folder ./nowhere"):
        load_bare_model("./nowhere")
    with pytest.raises(FileNotFoundError, match="There is no folder ./nowhere"):
        MoEPruner.from_pretrained("./nowhere")
    assert not caplog.text  # nothing about a tokenizer, which is not what is wrong


IN_A_PROCESS_OF_ITS_OWN = """
import sys, torch
from optimum_evoesap import EvoESAPConfig, MoEPruner
from transformers import AutoModelForCausalLM
source, target = sys.argv[1:3]
try:
    MoEPruner.from_pretrained(source)
except ValueError as error:
    assert "trust_remote_code=True" in str(error), error
else:
    raise AssertionError("code that nobody trusts must not run")
config = EvoESAPConfig(sparsity=None, allocation=[5, 2], sequence_length=16)
pruner = MoEPruner.from_pretrained(source, config, trust_remote_code=True)
assert type(pruner.model).__module__.startswith("transformers_modules."), type(pruner.model)
tokens = torch.randint(0, 96, (8, 16), generator=torch.Generator().manual_seed(0))
model = pruner.prune(target, calibration_data=[{"input_ids": each} for each in tokens])
assert [len(layer.mlp.experts) for layer in model.model.layers] == [3, 6]
reloaded = AutoModelForCausalLM.from_pretrained(target, trust_remote_code=True)
with torch.no_grad():
    assert torch.equal(model(tokens).logits, reloaded(tokens).logits)
"""


def test_a_model_with_code_of_its_own(tmp_path, monkeypatch):
    """Through transformers' own dynamic modules, in a process of its own."""
    from tests.remote_code.configuration_listed_moe import ListedMoeConfig
    from tests.remote_code.modeling_listed_moe import ListedMoeForCausalLM

    model = model_matrix.make_model("listed_moe")
    for each in (ListedMoeConfig, ListedMoeForCausalLM):
        monkeypatch.setattr(each, "_auto_class", None, raising=False)  # so that registering is undone
    ListedMoeConfig.register_for_auto_class()
    ListedMoeForCausalLM.register_for_auto_class("AutoModelForCausalLM")
    model.save_pretrained(tmp_path / "source")
    assert (tmp_path / "source" / "modeling_listed_moe.py").is_file()
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN, str(tmp_path / "source"), str(tmp_path / "pruned")],
        env=os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules"), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("overrides", "layers", "min_kept"), [({"num_hidden_layers": 2}, 2, 2), ({"num_experts_per_tok": 4}, 3, 4)]
)
def test_arguments_that_override_the_config_are_seen_before_the_weights(overrides, layers, min_kept, tmp_path):
    model_matrix.make_model("olmoe").save_pretrained(tmp_path)
    checked = []
    sparse_model = load_model(str(tmp_path), checked.append, dtype="float32", **overrides)
    for each in (checked[0], sparse_model):
        assert [layer.min_kept for layer in each.layers] == [min_kept] * layers
    pruner = MoEPruner.from_pretrained(tmp_path, **overrides)
    assert pruner.sparse_layers == list(range(layers))
    pruner.calibrate([{"input_ids": tokens} for tokens in model_matrix.random_tokens(2, 16)])


def test_arguments_without_effect_are_refused_where_no_weights_are_read(tmp_path):
    with pytest.raises(TypeError, match="dtype would have no effect"):
        load_bare_model(str(tmp_path), dtype="float32")
