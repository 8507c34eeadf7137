# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A stand-in for a transformers that builds the layers of some model types itself, as PR 45332 is to.

The names are those that all revisions of that pull request share: `get_heterogeneous_modeling_spec` in
`transformers.integrations.heterogeneity`, asked during the construction of a model, and the class attribute
`_disable_heterogeneous_modeling_patching`. Some of them refuse a type without a spec, others leave it as it is.
"""

from __future__ import annotations

import functools

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.integrations import heterogeneity
from transformers.models.olmoe import modeling_olmoe


refuses_others = False
built: list[type] = []


def install() -> None:
    """Let transformers build OLMoE itself, and write the classes of the models built so into `built`."""
    build_model, build_layer = PreTrainedModel.__init__, modeling_olmoe.OlmoeDecoderLayer.__init__

    def find_spec(model):
        if getattr(model, "_disable_heterogeneous_modeling_patching", False):
            return None
        if model.config.model_type == "olmoe":
            return "a spec"
        if refuses_others:
            raise ValueError(f"No heterogeneous modeling behavior is defined for {model.config.model_type}")
        return None

    @functools.wraps(build_model)
    def model_init(self, config, *args, **kwargs):
        build_model(self, config, *args, **kwargs)
        if config.is_heterogeneous and heterogeneity.get_heterogeneous_modeling_spec(self) is not None:
            config.allow_global_per_layer_attribute_access = True
            built.append(type(self))

    @functools.wraps(build_layer)
    def layer_init(self, config, layer_idx):
        build_layer(self, config.per_layer_config[layer_idx], layer_idx)

    heterogeneity.get_heterogeneous_modeling_spec = find_spec
    PreTrainedModel.__init__ = model_init
    modeling_olmoe.OlmoeDecoderLayer.__init__ = layer_init


def check(folder: str, by_transformers: bool) -> None:
    expected = torch.load(f"{folder}/expected.pt", weights_only=True)
    built.clear()
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        assert torch.equal(model(input_ids=expected["tokens"]).logits, expected["logits"])
    assert (type(model) in built) == by_transformers, built
    # The configs of layers tell who built them: this package makes classes of its own for them.
    layer_classes = {type(layer.mlp.experts.config) for layer in model.model.layers}
    assert all((each is type(model.config)) == by_transformers for each in layer_classes), layer_classes


def main(olmoe: str, mixtral: str) -> None:
    """Load a checkpoint of the type that the stand-in builds and one of another, which it leaves or refuses."""
    global refuses_others
    install()
    import optimum_evoesap  # noqa: F401

    for refuse in (False, True):
        refuses_others = refuse
        check(olmoe, by_transformers=True)
        check(mixtral, by_transformers=False)
