# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A model that brings its own code."""

from __future__ import annotations

from .rows import add_row


add_row(
    "listed_moe",
    "tests.remote_code.modeling_listed_moe:ListedMoeForCausalLM",
    "tests.remote_code.configuration_listed_moe:ListedMoeConfig",
    common=False,
)
