# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Keys that a row does not have, and that Arrow fills with None since other rows have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def without_absent(row: Mapping[str, Any], features: Mapping[str, Any] | None) -> dict[str, Any]:
    """The row of a data set without the keys that only other rows have.

    A None in a struct of Arrow is such a key. What a `Json` feature holds was never in one: its None are real.

    Args:
        row: The row, by column.
        features: The features of the data set; `None` where they are not known, and all columns count as Arrow's.
    """
    return {name: _pruned(value, None if features is None else features.get(name)) for name, value in row.items()}


def _pruned(value: Any, feature: Any) -> Any:
    if type(feature).__name__ == "Json":
        return value
    if isinstance(value, Mapping):
        keys: Mapping[str, Any] = feature if isinstance(feature, Mapping) else {}
        return {key: _pruned(item, keys.get(key)) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        # A list of one feature, or as older data sets write it.
        of = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
        return value if type(of).__name__ == "Value" else [_pruned(item, of) for item in value]
    return value
