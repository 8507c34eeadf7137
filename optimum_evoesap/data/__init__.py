# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From anything that holds text, tokens or conversations with images to windows of tokens: `prepare_data`."""

from __future__ import annotations

from .layouts import register_layout
from .options import DataError, DataOptions
from .prepare import prepare_data
from .tokenized import IGNORE_INDEX, TOKEN_TENSORS, TokenizedData


__all__ = [
    "IGNORE_INDEX",
    "TOKEN_TENSORS",
    "DataError",
    "DataOptions",
    "TokenizedData",
    "prepare_data",
    "register_layout",
]
