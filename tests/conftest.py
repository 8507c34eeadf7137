# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What all tests share."""

from __future__ import annotations

import os

import torch


# Tests never reach for the Hub; those that push run against a local server in processes of their own.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Kernels run in Triton's interpreter where there is no GPU. Read when Triton is imported, which much of torch may do.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
# The models are tiny: more threads cost more than they bring, and the tests run in several processes.
torch.set_num_threads(1)
