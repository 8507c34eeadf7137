# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Answer reads of a config-wide expert count where layers have counts of their own, in the way that a server needs.

A server's model classes read one count from the config. While a layer is being built they get the count of that layer,
and otherwise the largest one (tables over all experts need it). This holds for every copy of the config.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..heterogeneous.attributes import is_expert_count


class _UnderConstruction(threading.local):
    layer: int | None = None


_under_construction = _UnderConstruction()


@contextmanager
def building_layer(index: int) -> Iterator[None]:
    """Let this thread read the expert counts of one layer."""
    outer = _under_construction.layer
    _under_construction.layer = index
    try:
        yield
    finally:
        _under_construction.layer = outer


@dataclass(frozen=True)
class ExpertCounts:
    """How many experts the layers of a model have.

    Attributes:
        default: The number of experts of a layer without a number of its own.
        own: The numbers of the other layers.
    """

    default: int
    own: Mapping[int, int]

    def of(self, layer: int) -> int:
        """The number of experts of a decoder layer, if it is a sparse one."""
        return self.own.get(layer, self.default)


def read_counts(text_config: Any) -> ExpertCounts | None:
    """The expert counts of a model, where some layer has a count of its own.

    Raises:
        ValueError: Layers have own values of several attributes about experts.
    """
    overrides = _expert_overrides(text_config)
    if not overrides:
        return None
    if len(overrides) > 1:
        raise ValueError(
            f"per_layer_config overrides {' and '.join(sorted(overrides))}, but only the number of routed experts can "
            "differ from layer to layer in vLLM. Leave only that one in the per_layer_config of config.json."
        )
    ((name, own),) = overrides.items()
    return ExpertCounts(text_config.__dict__.get(name) or max(own.values()), own)


def _expert_overrides(config: Any) -> dict[str, dict[int, int]]:
    """Expert counts by attribute and layer; an attribute under its own name, not under an alias."""
    spec = config.__dict__.get("_heterogeneity_spec")
    found: dict[str, dict[int, int]] = {}
    for layer, overrides in spec.per_layer_overrides.items() if spec is not None else ():
        for name, value in overrides.items():
            if is_expert_count(name):
                found.setdefault(config.attribute_map.get(name, name), {})[layer] = value
    return found


def answering_reads(read: Callable[[Any, str], Any], check: Callable[[], None]) -> Callable[[Any, str], Any]:
    """Make a `__getattribute__` of configs answer reads of expert counts that differ from layer to layer.

    Args:
        read: transformers' own, which raises for them.
        check: Called before such an answer; raises if the server could not use it correctly.
    """

    @functools.wraps(read)
    def __getattribute__(self, key):
        if not is_expert_count(key) or "_heterogeneity_spec" not in object.__getattribute__(self, "__dict__"):
            return read(self, key)
        overrides = _expert_overrides(self).get(key)
        if overrides is None:
            return read(self, key)
        check()
        values = object.__getattribute__(self, "__dict__")
        if _under_construction.layer is not None:
            return overrides.get(_under_construction.layer, values.get(key))
        return max([*overrides.values(), values.get(key) or 0])

    # The code in a checkpoint (checkpoint/modeling_evoesap.py) looks for this, and then does not answer itself.
    setattr(__getattribute__, "answers_for_layers", True)  # noqa: B010
    return __getattribute__
