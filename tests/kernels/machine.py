# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Where kernels and matrix products in Triton run, told by the machine and not by the code that is tested."""

from __future__ import annotations

import importlib.util

import pytest
import torch


_IS_NEW_TRITON = importlib.util.find_spec("triton") and importlib.util.find_spec("triton.tools.tensor_descriptor")
# Without a GPU in Triton's interpreter, whose products know no bfloat16.
HAS_PRODUCTS = bool(_IS_NEW_TRITON) and (
    not torch.cuda.is_available() or torch.cuda.get_device_capability()[0] == 9 and torch.version.hip is None
)
PRODUCT_DTYPES = [torch.float16, torch.bfloat16] if torch.cuda.is_available() else [torch.float16]
NEEDS_PRODUCTS = pytest.mark.skipif(not HAS_PRODUCTS, reason="needs Hopper, or Triton's interpreter")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ON_GPU = pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
