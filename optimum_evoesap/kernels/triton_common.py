# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What the kernels in Triton share."""

from __future__ import annotations

import triton


@triton.jit
def _empty_kernel():
    pass


# With TRITON_INTERPRET=1 a kernel is an object of another class, and its programs run one after the other.
IS_INTERPRETED = not isinstance(_empty_kernel, triton.JITFunction)
