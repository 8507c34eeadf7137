# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The versions of what a result depends on."""

from __future__ import annotations

import platform

import optimum.version
import torch
import transformers

from ..version import __version__


def package_versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    return {
        "optimum_evoesap": __version__,
        "optimum": optimum.version.__version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
