# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Names that the files of this folder share; importing them does not load torch."""

from __future__ import annotations

from typing import Any


NAME = "evoesap"

# A module of a class with transformers' `use_experts_implementation`, whose attributes are set outside the class.
ExpertsModule = Any
