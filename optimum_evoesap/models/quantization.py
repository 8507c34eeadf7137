# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Whether a config says that weights are quantized, in any of the forms there are, and how they load without."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from transformers import PretrainedConfig


# Where configs keep it: transformers and most tools, compressed-tensors of old, MLX.
_ENTRIES = ("quantization_config", "compression_config", "quantization")
# What names the method, by the tool that wrote it; transformers' own first.
_NAMES = ("quant_method", "quant_algo", "quantization_method", "method", "quant_type", "format")
_DEPTH = 8


class Quantization(NamedTuple):
    """How weights are quantized.

    Attributes:
        method: Its name, as well as the config tells it.
        where: The entry of the config that says so, such as `text_config.quantization_config`.
        settings: What it says.
    """

    method: str
    where: str
    settings: Any


def find_quantization(config: PretrainedConfig | Mapping[str, Any]) -> Quantization | None:
    """Read from a config whether its weights are quantized.

    Args:
        config: The config of a model, or its values.

    Returns:
        How, also where it is said in a config nested in it; `None` where nothing but empty entries are there.
    """
    for where, settings in _entries(config, "", _DEPTH):
        if not _is_empty(settings):
            return Quantization(_method(_plain(settings)), where, settings)
    return None


def drop_empty_quantization(config: PretrainedConfig) -> bool:
    """Remove entries of a config that say nothing, with which transformers cannot load.

    Args:
        config: The config, changed in place.

    Returns:
        Whether there were some.
    """
    holders = [config, config.get_text_config(decoder=True)]
    empty = [each for each in holders if _is_off(each)]
    for holder in empty:
        vars(holder).pop(_ENTRIES[0], None)
    return bool(empty)


def check_quantization(config: PretrainedConfig, given: Any, path: str) -> None:
    """Raise where the weights would be quantized, before they are read.

    Args:
        config: The config of the model.
        given: The `quantization_config` that is to load it, if any.
        path: Where it comes from, for the message.

    Raises:
        ValueError: They would be.
    """
    if getattr(given, "dequantize", False):
        return
    if given is not None:
        raise ValueError(
            "quantization_config would quantize the weights, whose scales cannot be sliced with their experts: leave "
            "it out, prune, then quantize the result."
        )
    found = find_quantization(config)
    if found is None:
        return
    remedy = "Start from the model that it was made from"
    if _class_of(found) is not None:
        remedy = f"Load it with dequantize=True (--dequantize on the command line), or s{remedy[1:]}"
    raise ValueError(
        f"{path} is quantized ({found.method}, says {found.where} of its config), and scales cannot be sliced with "
        f"their experts. {remedy}; prune, then quantize."
    )


def dequantizing(config: PretrainedConfig, path: str) -> Any:
    """The quantization config with which transformers undoes the quantization of a checkpoint while it loads.

    Args:
        config: The config of the model.
        path: Where it comes from, for the message.

    Raises:
        ValueError: It is not quantized, or transformers cannot undo its method.
    """
    found = find_quantization(config)
    if found is None:
        raise ValueError(f"dequantize=True would have no effect: the config of {path} names no quantization.")
    chosen = _class_of(found)
    if chosen is None:
        raise ValueError(
            f"{path} is quantized ({found.method}, says {found.where} of its config), which transformers cannot undo "
            "while it loads: leave dequantize out, and start from the model that it was made from."
        )
    return chosen.from_dict({**_plain(found.settings), "dequantize": True})


def _class_of(found: Quantization) -> Any:
    """The class of settings for a method that transformers undoes where it finds them; otherwise `None`."""
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    chosen = AUTO_QUANTIZATION_CONFIG_MAPPING.get(found.method)
    if chosen is None or found.where.rpartition(".")[2] != _ENTRIES[0]:
        return None
    return chosen if "dequantize" in inspect.signature(chosen.__init__).parameters else None


def _entries(config: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    values = vars(config) if isinstance(config, PretrainedConfig) else config
    for name in _ENTRIES:
        if values.get(name) is not None:
            yield path + name, values[name]
    for name, nested in values.items() if depth else ():
        if name not in _ENTRIES and isinstance(nested, (PretrainedConfig, Mapping)):
            yield from _entries(nested, f"{path}{name}.", depth - 1)


def _plain(settings: Any) -> dict[str, Any]:
    """The settings as a dict, whatever holds them."""
    if isinstance(settings, Mapping):
        return dict(settings)
    return settings.to_dict() if hasattr(settings, "to_dict") else {"method": settings}


def _is_empty(settings: Any) -> bool:
    values = _plain(settings) if settings else {}
    # An entry whose values are all unset, or that only says what is not done.
    return not any(value not in (None, False, "", [], {}) for value in values.values())


def _is_off(config: PretrainedConfig) -> bool:
    settings = vars(config).get(_ENTRIES[0])
    return settings is not None and _is_empty(settings)


def _method(settings: Mapping[str, Any]) -> str:
    for name in _NAMES:
        value = settings.get(name)
        if value:
            return str(getattr(value, "value", value))
    for width in (4, 8):
        if settings.get(f"load_in_{width}bit"):
            return f"bitsandbytes, {width} bits"
    nested = [value for value in settings.values() if isinstance(value, Mapping)]
    found = [_method(value) for value in nested if any(value.get(name) for name in _NAMES)]
    bits = settings.get("bits") or settings.get("w_bit")
    return found[0] if found else f"{bits} bits" if bits else "by a method that it does not name"
