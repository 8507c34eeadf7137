# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Let no config claim layers for multi-token prediction that its files do not hold."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from safetensors import safe_open


logger = logging.getLogger(__name__)

_HEADS = re.compile(r"(^|[._])(mtp|nextn)")


def drop_claims(folder: Path) -> list[str]:
    """Set to 0 the counts, and empty the lists, of layers for multi-token prediction that the files do not hold.

    Args:
        folder: The checkpoint; its `config.json` is changed.

    Returns:
        The names of the counts and lists.
    """
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    names = [name for path in folder.glob("*.safetensors") for name in _names(path)]
    dropped = []
    for holder, attribute in _claims(config):
        if not _holds_heads(names, holder.get("num_hidden_layers")):
            logger.warning(
                "The layers for multi-token prediction (%s=%s) are not part of the loaded model, so the pruned "
                "checkpoint has none, and its config says so.",
                attribute,
                holder[attribute],
            )
            # A list has an entry for each of these layers; a count is their number.
            holder[attribute] = [] if isinstance(holder[attribute], list) else 0
            dropped.append(attribute)
    if dropped:
        file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return dropped


def _claims(config: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The dicts of a config with the names of their counts above 0."""
    for name, value in list(config.items()):
        if isinstance(value, dict):
            yield from _claims(value)
        elif _HEADS.search(name) and _is_claim(name, value):
            yield config, name


def _is_claim(name: str, value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and ("layer" in name or "type" in name)
    return "layers" in name and type(value) is int and value > 0


def _holds_heads(names: Collection[str], layers: Any) -> bool:
    """Whether the tensors have such layers: under a name of their own, or after the last decoder layer."""
    numbers = [int(number) for name in names for number in re.findall(r"(?:^|\.)layers\.(\d+)\.", name)[:1]]
    return any(_HEADS.search(name) for name in names) or (
        isinstance(layers, int) and max(numbers, default=0) >= layers
    )


def _names(path: Path) -> list[str]:
    with safe_open(path, "pt") as file:
        return list(file.keys())
