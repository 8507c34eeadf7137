# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The command line, `optimum-cli evoesap`. Nothing here imports torch or transformers before a command runs."""

from .base import EvoESAPCommand


__all__ = ["EvoESAPCommand"]
