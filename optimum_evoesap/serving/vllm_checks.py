# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Refuse what vLLM cannot do with layers of different expert counts, and check what it built before weights load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..version import __version__
from .layer_counts import ExpertCounts, read_counts


# The release that the plugin is written for and tested with.
KNOWN_VLLM = "0.32.0"


def version_message(problem: str) -> str:
    """Say that vLLM is not as the plugin knows it, and what to do."""
    import vllm

    return (
        f"optimum-evoesap {__version__} cannot make vLLM {vllm.__version__} build layers with different expert "
        f"counts: {problem}. It knows vLLM {KNOWN_VLLM}; install that, or a newer optimum-evoesap."
    )


def counts_of(model_config: Any) -> ExpertCounts | None:
    """The expert counts of a model for vLLM, where they differ from layer to layer."""
    return read_counts(model_config.hf_text_config)


def check_options(counts: ExpertCounts, model_config: Any, parallel_config: Any) -> None:
    """Refuse options that assume the same experts in each layer.

    Args:
        counts: Expert counts of the model.
        model_config: vLLM's `ModelConfig`.
        parallel_config: vLLM's `ParallelConfig`.

    Raises:
        ValueError: One of them is on; the message says which.
    """
    refused = {
        "expert parallelism (--enable-expert-parallel)": getattr(parallel_config, "enable_expert_parallel", False),
        "expert load balancing (--enable-eplb)": getattr(parallel_config, "enable_eplb", False),
        "elastic expert parallelism (--enable-elastic-ep)": getattr(parallel_config, "enable_elastic_ep", False),
        "GPT-OSS with quantized experts": (
            model_config.hf_text_config.model_type == "gpt_oss" and model_config.quantization is not None
        ),
    }
    if used := [name for name, is_used in refused.items() if is_used]:
        raise ValueError(
            f"{' and '.join(used)} cannot be used with {model_config.model}: its layers have different numbers "
            f"of experts (from {min(counts.own.values())} on), and here vLLM needs the same in each. Use tensor "
            "parallelism (--tensor-parallel-size) and unquantized weights, or prune with allocation='uniform'."
        )


def check_layers(model: Any, counts: ExpertCounts) -> None:
    """Compare the experts and routers of a model that vLLM has built with the config, before weights load.

    Args:
        model: The model as vLLM has built it.
        counts: Its expert counts by the config.

    Raises:
        RuntimeError: A layer has another number of experts, or no experts that can be counted.
    """
    name, seen = type(model).__name__, _layers_elsewhere(model)
    fused = [path for path, module in model.named_modules() if _has_fused_shared_experts(module)]
    if fused:
        # They are loaded under the number after the last routed expert, the same for all layers.
        raise RuntimeError(
            f"vLLM has put the shared experts of {name} behind the routed ones ({fused[0]}), which needs the same "
            "number of experts in each layer. Unset VLLM_ROCM_USE_AITER_FUSION_SHARED_EXPERTS."
        )
    for layer, part, number in _expert_numbers(model):
        seen.add(layer)
        if number != counts.of(layer):
            raise RuntimeError(
                version_message(
                    f"{name} has {number} experts in {part}, but layer {layer} has {counts.of(layer)} in config.json"
                )
            )
    if missed := sorted(set(counts.own) - seen):
        raise RuntimeError(
            version_message(
                f"{name} has none of vLLM's experts in the layers {missed}, so they cannot be checked; another "
                "--model-impl may have them"
            )
        )


def _has_fused_shared_experts(module: Any) -> bool:
    return bool(getattr(getattr(module, "expert_map_manager", None), "num_fused_shared_experts", 0))


def _layers_elsewhere(model: Any) -> set[int]:
    """Layers that other processes have, where layers are spread over processes (pipeline parallelism)."""
    from vllm.model_executor.models.utils import PPMissingLayer

    last_parts = (
        path.rpartition(".")[2] for path, module in model.named_modules() if isinstance(module, PPMissingLayer)
    )
    return {int(part) for part in last_parts if part.isdigit()}


def _expert_numbers(model: Any) -> Iterator[tuple[int, str, int]]:
    """Layer, name of a part with one entry for each expert, and the number of its experts."""
    from vllm.model_executor.layers.fused_moe import RoutedExperts
    from vllm.model_executor.models.utils import extract_layer_index

    modules = dict(model.named_modules())
    for path, module in modules.items():
        if isinstance(module, RoutedExperts):
            layer = extract_layer_index(module.layer_name)
            yield layer, path, module.moe_config.num_logical_experts
            yield from _router_numbers(modules, path, layer)


def _router_numbers(modules: Mapping[str, Any], path: str, layer: int) -> Iterator[tuple[int, str, int]]:
    """The routers next to experts: vLLM's experts lie in a runner, and that in the block with the router."""
    block = path.rpartition(".")[0].rpartition(".")[0]
    for name in ("gate", "router"):
        weight = getattr(modules.get(f"{block}.{name}"), "weight", None)
        if weight is not None:
            yield layer, f"{block}.{name}", weight.shape[0]
