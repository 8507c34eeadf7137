# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`import optimum_evoesap` is fast: what is heavy is loaded when it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["optimum_evoesap", "optimum_evoesap.install", "optimum_evoesap.options", "optimum_evoesap.search"]
)
def test_an_import_loads_neither_torch_nor_transformers(module):
    program = (
        f"import sys, {module}\n"
        "print('loaded:', *(name for name in ('torch', 'transformers', 'datasets', 'triton') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "loaded:"
