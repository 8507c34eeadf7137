# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From a model to its [`MoELayer`]s: sort what the expert count reaches by decoder layer, router and experts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import torch
from transformers import PreTrainedModel

from .moe_layer import CountAttribute, ExpertsCall, ExpertTensor, MoELayer
from .structure import Structure, discover_structure, global_value, named_tensors


# The outermost numbered module of a name is the decoder layer: model.layers.3.mlp.gate -> model.layers.3
_LAYER_PATTERN = re.compile(r"^(.*?\.(\d+))(?:\.|$)")


def model_structure(model: PreTrainedModel) -> Structure:
    """Find what the expert count reaches in a model's class.

    Raises:
        ValueError: Not a transformers model, a dense model, or one whose experts cannot be found.
    """
    if not isinstance(model, PreTrainedModel):
        raise ValueError(
            f"Pruning needs a transformers PreTrainedModel, not {type(model).__name__}; "
            "unwrap the model first (for PEFT: model.merge_and_unload())."
        )
    if getattr(model, "hf_quantizer", None) is not None:
        raise ValueError(
            f"{type(model).__name__} is loaded with quantized weights, whose scales cannot be sliced with their "
            "experts. Load it without quantization (dequantize=True in its quantization config), prune, then quantize."
        )
    structure = discover_structure(type(model), model.config)
    if structure is None:
        raise ValueError(
            f"{type(model).__name__} (model type {model.config.model_type!r}) has no routed experts to remove: "
            "building it with another expert count changes no router. Only Mixture-of-Experts models can be pruned."
        )
    known = {name for name, _ in named_tensors(structure.model, remove_duplicate=False)}
    foreign = [name for name, _ in named_tensors(model) if name not in known]
    if foreign:
        raise ValueError(
            f"{type(model).__name__} holds tensors that its class does not make ({', '.join(foreign[:3])}, ...): "
            "adapters or quantization. Merge or remove them first (for PEFT: model.merge_and_unload())."
        )
    return structure


def find_moe_layers(model: PreTrainedModel, structure: Structure | None = None) -> list[MoELayer]:
    """The sparse layers of `model`, in order.

    Args:
        model: A transformers model; also one on the meta device, or one whose layers have different expert counts.
        structure: Its structure, where it is known already.

    Raises:
        ValueError: As [`model_structure`], and when router and experts cannot be told apart.
    """
    structure = structure or model_structure(model)
    tensor_names = _by_layer(structure.axes, structure)
    count_names = _by_layer(structure.counts, structure)
    experts_paths = {layer: _experts_path(layer, names, structure) for layer, names in tensor_names.items()}
    top_k = _probe_top_k(structure.model, experts_paths)

    layers = []
    for layer, names in tensor_names.items():
        experts_path = experts_paths[layer]
        tensors = {name: _expert_tensor(model, structure, name) for name in names}
        counts = [
            (path, CountAttribute(model.get_submodule(path), count))
            for path in count_names.get(layer, ())
            for count in structure.counts[path]
        ]
        num_groups, min_kept = _group_limits(model, top_k[layer])
        layers.append(
            MoELayer(
                index=int(layer.rpartition(".")[2]),
                layer=model.get_submodule(layer),
                experts=model.get_submodule(experts_path),
                top_k=top_k[layer],
                num_groups=num_groups,
                min_kept=min_kept,
                expert_tensors=[tensor for name, tensor in tensors.items() if _inside(name, experts_path)],
                router_tensors=[tensor for name, tensor in tensors.items() if not _inside(name, experts_path)],
                expert_counts=[count for path, count in counts if _inside(path, experts_path)],
                router_counts=[count for path, count in counts if not _inside(path, experts_path)],
            )
        )
    return sorted(layers, key=lambda layer: layer.index)


def _by_layer(names: Iterable[str], structure: Structure) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name in names:
        match = _LAYER_PATTERN.match(name)
        if match is not None:
            grouped.setdefault(match.group(1), []).append(name)
        elif name in structure.axes:
            raise ValueError(f"{name} has an expert axis but lies outside the decoder layers: not supported.")
    return grouped


def _inside(name: str, path: str) -> bool:
    return name == path or name.startswith(path + ".")


def _expert_tensor(model: PreTrainedModel, structure: Structure, name: str) -> ExpertTensor:
    owner, _, attribute = name.rpartition(".")
    return ExpertTensor(model.get_submodule(owner), attribute, structure.axes[name])


def _experts_path(layer: str, names: list[str], structure: Structure) -> str:
    """The module that owns the big tensors: three axes, or several rows an expert. All else is the router's side."""
    shapes = dict(named_tensors(structure.model))
    owners = {name.rpartition(".")[0] for name in names if shapes[name].ndim >= 3 or structure.axes[name].rows > 1}
    if len(owners) != 1:
        raise ValueError(
            f"Cannot tell the experts of {layer} from its router: the tensors with an expert axis are "
            f"{', '.join(names)}."
        )
    return owners.pop()


def _probe_top_k(model: PreTrainedModel, experts_paths: dict[str, str]) -> dict[str, int]:
    """Ask the model: run it on the meta device with idle experts and see how many each token is routed to."""
    found: dict[str, int] = {}

    def idle_experts(layer: str):
        def forward(*args, **kwargs):
            call = ExpertsCall(args, kwargs)
            found[layer] = call.indices.shape[-1]
            return torch.zeros_like(call.hidden)

        return forward

    stand_ins = {model.get_submodule(path): idle_experts(layer) for layer, path in experts_paths.items()}
    try:
        for module, forward in stand_ins.items():
            module.forward = forward
        # A ready mask of four axes, because building one looks at values, which meta tensors have not.
        tokens = torch.zeros(1, 2, dtype=torch.long, device="meta")
        mask = torch.zeros(1, 1, 2, 2, dtype=model.dtype, device="meta")
        with torch.no_grad():
            model.eval()(input_ids=tokens, attention_mask=mask, use_cache=False)
    finally:
        for module in stand_ins:
            vars(module).pop("forward", None)
    missing = [layer for layer in experts_paths if layer not in found]
    if missing:
        raise ValueError(
            f"The experts of {', '.join(missing)} are never called by the model's forward: not supported."
        )
    return found


def _group_limits(model: PreTrainedModel, top_k: int) -> tuple[int, int]:
    """Groups of a group-limited router (DeepSeek-V3 and its descendants) and the fewest experts it works with.

    Such a router scores a group by its two best experts, keeps `topk_group` groups, and takes the top-k from those;
    its reshape needs the same number of experts in each group.
    """
    config = model.config.get_text_config(decoder=True)
    num_groups = global_value(config, "n_group") or 1
    if num_groups == 1:
        return 1, top_k
    open_groups = global_value(config, "topk_group") or num_groups
    return num_groups, num_groups * max(2, math.ceil(top_k / open_groups))
