# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What some random models need before they are ones that a checkpoint could hold."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel


def fill_expert_tables(model: PreTrainedModel) -> None:
    """Give tokens experts of their own in the tables of hash-routed layers; they are born with expert 0 everywhere."""
    for name, table in model.named_buffers():
        if name.endswith("tid2eid"):
            table.copy_(torch.rand(table.shape[0], model.config.n_routed_experts).argsort(-1)[:, : table.shape[1]])


def keep_skip_bias(model: PreTrainedModel) -> None:
    """ZAYA writes -1 as the selection bias of the skip class at every load."""
    for name, bias in model.named_buffers():
        if name.endswith("balancing_biases"):
            bias[-1] = -1.0
