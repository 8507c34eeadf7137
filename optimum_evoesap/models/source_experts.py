# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Which tensors of a checkpoint hold experts, and where: found from their names, shapes and transformers' conversions.

A class and its checkpoints need not agree: files hold one tensor for each expert where the class has one for all, or
under other names, or quantized with scales beside it. transformers' own conversions say which tensor of the class a
tensor of the files becomes; which of its numbers counts experts, or which of its axes, follows from how many they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from ..adapters import MoELayer
from ..adapters.growth import ExpertAxis
from ..adapters.parts import ExpertTensor


@dataclass(frozen=True)
class OneExpert:
    """A tensor that is of one expert.

    Attributes:
        layer: The decoder layer.
        place: Which part of its name, between dots, is the number of the expert.
        first: Number that the first expert of those which are counted there has in the layer.
        count: How many are counted there. What has a larger number is none of them, and stays (zero experts of
            LongCat-Flash).
    """

    layer: int
    place: int
    first: int
    count: int


@dataclass(frozen=True)
class AllExperts:
    """A tensor with an axis along which experts lie.

    Attributes:
        layer: The decoder layer.
        axis: The axis.
        first: Number that the first of them has in the layer.
        count: How many there are, of each block.
        blocks: Blocks of the layer that lie along the axis before, each with its own experts.
    """

    layer: int
    axis: ExpertAxis
    first: int
    count: int
    blocks: int = 1


Held = OneExpert | AllExperts


@dataclass(frozen=True)
class SourceTensors:
    """What the tensors of a checkpoint are, in the eyes of a class.

    Attributes:
        held: What tensors hold of the experts, by name.
        unbuilt: Tensors of modules that the class does not build, such as layers for multi-token prediction: their
            names, and those that transformers makes of them.
    """

    held: dict[str, Held]
    unbuilt: dict[str, str]


@dataclass(frozen=True)
class _Place:
    """Where tensors of the class belong: a block of a layer, and the axis; none for modules, one an expert."""

    layer: MoELayer
    block: int
    axis: ExpertAxis | None
    is_router: bool


def understand_source(
    model: PreTrainedModel, layers: Sequence[MoELayer], shapes: Mapping[str, Sequence[int]]
) -> SourceTensors:
    """What tensors of a checkpoint hold of the experts, and which of them are none of the class.

    Args:
        model: The model that they are loaded into; may be on the meta device.
        layers: Its sparse layers.
        shapes: Shape of each tensor of the checkpoint, by name.

    Raises:
        ValueError: A tensor holds experts in a way that cannot be told.
    """
    places = _places_by_target(model, layers)
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    targets = _targets(model, shapes, own)
    found = {name: place for name, target in targets.items() if (place := _place_of(target, places)) is not None}
    numbered = _numbered(shapes)
    held: dict[str, Held] = {}
    for name, place in found.items():
        own_shape = own.get(targets[name])
        each = _one_expert(name, place, found, numbered) or _all_experts(name, place, shapes[name], own_shape)
        if each is not None:
            held[name] = each
    _check_all_found(layers, held, found)
    modules = {name for name, _ in model.named_modules(remove_duplicate=False)}
    unbuilt = {
        name: target
        for name, target in targets.items()
        if name not in held and target not in own and target.rpartition(".")[0] not in modules
    }
    return SourceTensors(held, unbuilt)


def _places_by_target(model: PreTrainedModel, layers: Sequence[MoELayer]) -> dict[str, _Place]:
    """Where experts are in the class: by the names of tensors, and of modules with a number after them."""
    names: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(id(module), []).append(f"{name}." if name else "")
    places: dict[str, _Place] = {}
    for layer in layers:
        for number, block in enumerate(layer.blocks):
            for part in block.parts:
                axis, is_router = getattr(part, "axis", None), part in block.router_tensors
                place = _Place(layer, number, axis, is_router)
                for owner in part.owners if isinstance(part, ExpertTensor) else (part.owner,):
                    for prefix in names[id(owner)]:
                        places[f"{prefix}{part.name}"] = place
                        if axis is not None and not is_router:
                            # Quantized, they may be one for each expert, of another name.
                            places.setdefault(prefix.removesuffix("."), replace(place, axis=None))
    return places


def _targets(model: PreTrainedModel, names: Collection[str], own: Mapping[str, Any]) -> dict[str, str]:
    """The tensor of the class that each tensor of a checkpoint becomes, or becomes a part of."""
    mapping = get_model_conversion_mapping(model)
    renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
    converters = [each for each in mapping if isinstance(each, WeightConverter)]
    targets, meta = {}, dict(own)
    for name in names:
        target, _ = rename_source_key(name, renamings, converters, model.base_model_prefix, meta)
        if target not in own and name in own:
            target = name
        targets[name] = target
    return targets


def _place_of(target: str, places: Mapping[str, _Place]) -> _Place | None:
    """Where a tensor belongs; also one beside a tensor of the class, such as its scales, which is named after it."""
    if target in places:
        return places[target]
    for match in reversed(list(re.finditer(r"[._:]", target))):
        place = places.get(target[: match.start()])
        # Without an axis it is of modules, of which those with a number are experts.
        if place is not None and (place.axis is not None or target[match.end() :].split(".")[0].isdigit()):
            return place
    return None


def _without(name: str, place: int) -> tuple[str, str]:
    parts = name.split(".")
    return ".".join(parts[:place]), ".".join(parts[place + 1 :])


def _numbered(names: Collection[str]) -> dict[tuple[str, str], dict[int, str]]:
    """Names that differ in one number, by what comes before it and after it."""
    numbered: dict[tuple[str, str], dict[int, str]] = {}
    for name in names:
        for place, part in enumerate(name.split(".")):
            if part.isdigit():
                numbered.setdefault(_without(name, place), {})[int(part)] = name
    return numbered


def _one_expert(
    name: str, place: _Place, found: Mapping[str, _Place], numbered: Mapping[tuple[str, str], Mapping[int, str]]
) -> OneExpert | None:
    size = place.layer.experts_per_block
    for where, part in enumerate(name.split(".")):
        if not part.isdigit():
            continue
        alike = numbered[_without(name, where)]
        if any(other not in found or found[other].layer is not place.layer for other in alike.values()):
            continue
        extra = place.axis.extra if place.axis is not None else 0
        for first, count in ((0, place.layer.num_experts), (place.block * size, size)):
            if sorted(alike) in (list(range(count)), list(range(count + extra))):
                return OneExpert(place.layer.index, where, first, count)
    return None


def _all_experts(name: str, place: _Place, shape: Sequence[int], own_shape: Sequence[int] | None) -> AllExperts | None:
    """The axis of the experts; `None` where the class has no such tensor, and it is one for all experts."""
    layer, size = place.layer, place.layer.experts_per_block
    counted = ((size, place.block * size), (layer.num_experts, 0))
    if own_shape is None and math.prod(shape) == 1:
        return None
    if own_shape is None and place.axis is not None:
        # Scales and the like: experts come first, each with as many rows as it takes.
        for count, first in counted:
            if shape[0] % count == 0:
                return AllExperts(layer.index, ExpertAxis(0, shape[0] // count), first, count)
    elif place.axis is not None:
        rows, extra = place.axis.rows, place.axis.extra
        # One tensor for all blocks, where the class has one a block.
        is_stacked = len(layer.blocks) > 1 and math.prod(shape) == len(layer.blocks) * math.prod(own_shape or ())
        for count, first in counted:
            fitting = [axis for axis, length in enumerate(shape) if length == count * rows + extra]
            if fitting:
                axis = ExpertAxis(place.axis.axis if place.axis.axis in fitting else fitting[0], rows, extra)
                blocks = len(layer.blocks) if is_stacked and count == size else 1
                return AllExperts(layer.index, axis, 0 if blocks > 1 else first, count, blocks)
    raise ValueError(
        f"The tensor {name} with the shape {tuple(shape)} holds experts of layer {layer.index}, which has {size}"
        f"{' a block' if len(layer.blocks) > 1 else ''}, and it cannot be told where: they are packed in a way that "
        "cannot be sliced in the file."
    )


def _check_all_found(layers: Sequence[MoELayer], held: Mapping[str, Held], found: Mapping[str, _Place]) -> None:
    numbers: dict[int, set[int]] = {layer.index: set() for layer in layers}
    for name, each in held.items():
        if found[name].is_router:
            continue
        if isinstance(each, OneExpert):
            numbers[each.layer].add(each.first + int(name.split(".")[each.place]))
        else:
            numbers[each.layer].update(range(each.first, each.first + each.count * each.blocks))
    for layer in layers:
        absent = sorted(set(range(layer.num_experts)) - numbers[layer.index])
        if absent:
            raise ValueError(
                f"The files hold no tensor of expert {absent[0]} of layer {layer.index}: they are not those of this "
                "model, or hold its experts under names that transformers does not know."
            )
