# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The vLLM plugin: vLLM builds each decoder layer with its own expert count from `per_layer_config`.

vLLM calls `register` in each of its processes (entry point group `vllm.general_plugins`). The replacements do nothing
unless the config of a model has expert counts that differ from layer to layer.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from ..heterogeneous.attributes import is_expert_count
from .hooks import Hooks
from .layer_counts import answering_reads, building_layer, read_counts
from .vllm_checks import check_layers, check_options, counts_of, version_message


_hooks = Hooks("vllm")


def register() -> None:
    """Prepare this process for models whose layers have different expert counts; calling it again changes nothing."""
    if _hooks.names:
        return
    _hooks.add("vllm.transformers_utils.model_arch_config_convertor", _CONVERTOR, _summarising_once)
    _hooks.add("vllm.config.model", "ModelConfig.verify_with_parallel_config", _refusing)
    _hooks.add("vllm.model_executor.models.utils", "make_layers", _making_layers)
    _hooks.add("vllm.model_executor.models.transformers.moe", "FusedMoEFactory", _fusing_experts)
    _hooks.add("vllm.model_executor.model_loader.utils", "initialize_model", _checking_layers)
    _hooks.add(
        "transformers.integrations.heterogeneity.configuration_utils",
        "HeterogeneousConfigMixin.__getattribute__",
        functools.partial(answering_reads, check=_check_hooks),
    )


_CONVERTOR = "ModelArchConfigConvertorBase.get_per_layer_hf_configs"


def _check_hooks() -> None:
    if missing := _hooks.missing():
        raise RuntimeError(version_message(f"this vLLM has no {', '.join(missing)}"))


def _summarising_once(get_configs: Callable[..., Any]) -> Callable[..., Any]:
    """Let vLLM describe a model as a whole where only experts differ from layer to layer.

    vLLM describes layers one by one for their KV caches, and refuses to with multi-head latent attention.
    """

    @functools.wraps(get_configs)
    def get_per_layer_hf_configs(self):
        configs = (self.hf_config, self.hf_text_config)
        attributes = {name for each in configs for name in getattr(each, "per_layer_attributes", None) or ()}
        if attributes and read_counts(self.hf_text_config) and all(map(is_expert_count, attributes)):
            return None
        return get_configs(self)

    return get_per_layer_hf_configs


def _refusing(verify: Callable[..., None]) -> Callable[..., None]:
    """Refuse where vLLM first looks at model and options together, in the process of the user."""

    @functools.wraps(verify)
    def verify_with_parallel_config(self, parallel_config):
        counts = counts_of(self)
        if counts is not None:
            _check_hooks()
            check_options(counts, self, parallel_config)
        verify(self, parallel_config)

    return verify_with_parallel_config


def _making_layers(make: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(make)
    if "layer_fn" not in signature.parameters:
        return make  # of another vLLM: the check of the built layers will report it

    @functools.wraps(make)
    def make_layers(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        make_layer = bound.arguments["layer_fn"]

        def layer_fn(*layer_args, **layer_kwargs):
            index = str(layer_kwargs.get("prefix", "")).rpartition(".")[2]
            with building_layer(int(index)) if index.isdigit() else nullcontext():
                return make_layer(*layer_args, **layer_kwargs)

        bound.arguments["layer_fn"] = layer_fn
        return make(*bound.args, **bound.kwargs)

    return make_layers


def _fusing_experts(fuse: Callable[..., Any]) -> Callable[..., Any]:
    """The Transformers backend puts vLLM's experts into a model that transformers has built."""

    @functools.wraps(fuse)
    def make_experts(*args, **kwargs):
        from vllm.config import get_current_vllm_config
        from vllm.model_executor.models.utils import extract_layer_index

        counts = counts_of(get_current_vllm_config().model_config)
        if counts is not None:
            kwargs["num_experts"] = counts.of(extract_layer_index(kwargs["prefix"]))
        return fuse(*args, **kwargs)

    return make_experts


def _checking_layers(initialize: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(initialize)
    def initialize_model(vllm_config, *args, **kwargs):
        model = initialize(vllm_config, *args, **kwargs)
        counts = counts_of(kwargs.get("model_config") or vllm_config.model_config)
        if counts is not None:
            check_layers(model, counts)
        return model

    return initialize_model
