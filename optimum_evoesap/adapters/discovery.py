# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From a model to its [`MoELayer`]s: sort what the expert count reaches by decoder layer, router and experts."""

from __future__ import annotations

from collections import defaultdict

from torch import nn
from transformers import PreTrainedModel

from .block import MoEBlock
from .block_sketch import BlockSketch, share_out, sketch_blocks
from .growth import named_tensors
from .moe_layer import MoELayer
from .parts import CountAttribute, ExpertList, ExpertTensor
from .structure import Structure, discover_structure
from .top_k import group_limits, read_top_k, watch_experts


def model_structure(model: PreTrainedModel) -> Structure:
    """Find what the expert count reaches in a model's class.

    Args:
        model: A transformers model.

    Raises:
        ValueError: Not a transformers model, a quantized or dense one, or one whose experts cannot be found.
    """
    _check_kind(model)
    structure = discover_structure(type(model), model.config)
    if structure is None and model.config.is_encoder_decoder:
        raise ValueError(
            f"{type(model).__name__} has an encoder and a decoder; only decoder language models can be pruned."
        )
    if structure is None:
        raise ValueError(
            f"{type(model).__name__} (model type {model.config.model_type!r}) has no routed experts to remove: "
            "building it with another expert count changes no router. Only Mixture-of-Experts models can be pruned."
        )
    return structure


def check_prunable(model: PreTrainedModel, structure: Structure) -> None:
    """Check that a model holds what its class makes, and nothing else.

    Args:
        model: The model.
        structure: The structure of its class.

    Raises:
        ValueError: It is quantized, or holds further tensors.
    """
    _check_kind(model)
    known = {name for name, _ in named_tensors(structure.model, remove_duplicate=False)}
    foreign = [name for name, _ in named_tensors(model) if name not in known]
    if foreign:
        raise ValueError(
            f"{type(model).__name__} holds tensors that its class does not make ({', '.join(foreign[:3])}, ...): "
            "adapters or quantization. Merge or remove them first (for PEFT: model.merge_and_unload())."
        )


def _check_kind(model: PreTrainedModel) -> None:
    if not isinstance(model, PreTrainedModel):
        raise ValueError(
            f"Pruning needs a transformers PreTrainedModel, not {type(model).__name__}; "
            "unwrap the model first (for PEFT: model.merge_and_unload())."
        )
    if getattr(model, "hf_quantizer", None) is not None:
        raise ValueError(
            f"{type(model).__name__} is loaded with quantized weights, whose scales cannot be sliced with their "
            "experts. Load it without quantization (dequantize=True in its quantization config where its method has "
            "that, or the model that it was made from), prune, then quantize."
        )


def find_moe_layers(model: PreTrainedModel, structure: Structure | None = None) -> list[MoELayer]:
    """The sparse layers of `model`, in order.

    Args:
        model: A transformers model; also one on the meta device, or one whose layers have different expert counts.
        structure: Its structure, where it is known already.

    Raises:
        ValueError: As [`model_structure`], and when router and experts cannot be told apart.
    """
    if structure is None:
        structure = model_structure(model)
        check_prunable(model, structure)
    return bind_layers(model, structure, sketch_layers(structure))


def sketch_layers(structure: Structure) -> list[BlockSketch]:
    """The blocks of a model class by name; the class is run once without weights.

    Args:
        structure: Its structure.

    Raises:
        ValueError: Router and experts cannot be told apart.
    """
    sketches = sketch_blocks(structure)
    watched = watch_experts(structure.model, {sketch.path: sketch.layer for sketch in sketches})
    for sketch in sketches:
        if sketch.path in watched:
            sketch.top_k = watched[sketch.path].top_k
            sketch.widen(watched[sketch.path].path)
    share_out(sketches, structure)
    return sketches


def bind_layers(model: PreTrainedModel, structure: Structure, sketches: list[BlockSketch]) -> list[MoELayer]:
    """The sparse layers of a model, from the names of their parts.

    Args:
        model: The model; its layers may have different expert counts.
        structure: The structure of its class.
        sketches: Its blocks.

    Raises:
        ValueError: The blocks of a layer have different expert counts.
    """
    by_index: dict[int, list[BlockSketch]] = defaultdict(list)
    for sketch in sketches:
        by_index[sketch.index].append(sketch)
    return [_make_layer(model, structure, by_index[index]) for index in sorted(by_index)]


def _make_layer(model: PreTrainedModel, structure: Structure, sketches: list[BlockSketch]) -> MoELayer:
    blocks = [_make_block(model, structure, group) for group in _group_by_weights(model, sketches)]
    if len({block.num_experts for block in blocks}) > 1:
        raise ValueError(f"The blocks of {sketches[0].layer} have different expert counts: not supported.")
    return MoELayer(
        index=sketches[0].index,
        modules=tuple(model.get_submodule(layer) for layer in dict.fromkeys(each.layer for each in sketches)),
        blocks=blocks,
        config=model.config.get_text_config(decoder=True),
        attribute=structure.attribute,
        unprunable_reason=_fixed_routing(blocks),
    )


def _group_by_weights(model: PreTrainedModel, sketches: list[BlockSketch]) -> list[list[BlockSketch]]:
    """Sketches that share their weights make one block (two stacks of layers with tied weights)."""
    groups: dict[int, list[BlockSketch]] = defaultdict(list)
    for sketch in sketches:
        owner, _, attribute = sketch.expert_names[0].rpartition(".")
        groups[id(getattr(model.get_submodule(owner), attribute))].append(sketch)
    return list(groups.values())


def _make_block(model: PreTrainedModel, structure: Structure, sketches: list[BlockSketch]) -> MoEBlock:
    config = model.config.get_text_config(decoder=True)
    first = sketches[0]
    experts = tuple(model.get_submodule(sketch.path) for sketch in sketches)
    top_k = first.top_k or read_top_k(structure.model.get_submodule(first.path), config)
    num_groups, min_kept = group_limits(config, top_k)

    def parts(names: list[str]) -> list[ExpertTensor]:
        owners: dict[int, list[nn.Module]] = defaultdict(list)
        found = {}
        for name in names:
            path, _, attribute = name.rpartition(".")
            value = getattr(model.get_submodule(path), attribute)
            owners[id(value)].append(model.get_submodule(path))
            found[id(value)] = (attribute, structure.axes[name])
        return [ExpertTensor(tuple(owners[key]), *found[key]) for key in found]

    def counts(places) -> list[CountAttribute]:
        return [CountAttribute(model.get_submodule(path), count) for path, count in places]

    lists = [name for name in first.expert_names if name in structure.lists]
    tensors = [name for sketch in sketches for name in sketch.expert_names if name not in structure.lists]
    return first.adapter(
        path=first.path[len(first.layer) + 1 :],
        experts=experts,
        top_k=top_k,
        num_groups=num_groups,
        min_kept=min_kept,
        expert_parts=[
            *parts(tensors),
            *(ExpertList(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in lists),
        ],
        router_tensors=parts([name for sketch in sketches for name in sketch.router_names]),
        expert_counts=counts([place for sketch in sketches for place in sketch.expert_counts]),
        router_counts=counts([place for sketch in sketches for place in sketch.router_counts]),
    )


def _fixed_routing(blocks: list[MoEBlock]) -> str:
    """Why a layer cannot be pruned, if it cannot: its router looks the experts of a token up in a table of numbers."""
    for tensor in (tensor for block in blocks for tensor in block.router_tensors):
        for owner in tensor.owners:
            for name, value in named_tensors(owner):
                if not value.is_floating_point() and value.ndim == 2:
                    return f"its experts are chosen by a fixed table ({name}), not by a router"
    return ""
