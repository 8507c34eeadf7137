# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Adds `"evoesap"` to the experts implementations of transformers; its code is imported when it first runs."""

from __future__ import annotations

from typing import Any

from .names import NAME


def install() -> None:
    """Add the implementation to transformers' own table, for `model.set_experts_implementation("evoesap")`."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    ALL_EXPERTS_FUNCTIONS.register(NAME, _forward)


def _forward(self: Any, *args: Any, **kwargs: Any) -> Any:
    from .fused_experts import fused_experts_forward

    return fused_experts_forward(self, *args, **kwargs)
