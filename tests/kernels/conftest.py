# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Kernels run on the GPU where there is one, else in Triton's interpreter."""

from __future__ import annotations

import os

import torch


# Read when a kernel is defined, so it must stand before the first import of one.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
