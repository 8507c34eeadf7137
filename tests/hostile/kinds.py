# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""All kinds of inputs that are tried."""

from __future__ import annotations

from . import cards, given, own_files  # noqa: F401  (they add theirs)
from .registry import KINDS as KINDS
