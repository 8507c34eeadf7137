# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The plain way to search and to calibrate, to compare with: whole logits on the host, every expert on every token."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from optimum_evoesap.adapters import MoELayer


class NaiveScorer:
    """ESAP from the teacher's logits of all positions, kept in the memory of the host, one window at a time."""

    def __init__(self, model: PreTrainedModel, windows: list[torch.Tensor]):
        self._model, self._windows = model, windows
        self._teacher = [model(tokens, use_cache=False).logits.cpu() for tokens in windows]

    def score(self) -> float:
        values = []
        for tokens, kept in zip(self._windows, self._teacher):
            teacher = kept.to(tokens.device)[:, :-1].softmax(-1)
            student = self._model(tokens, use_cache=False).logits[:, :-1].softmax(-1)
            values.append(torch.minimum(teacher, student).sum(-1).float().mean().item())
        return sum(values) / len(values)


def calibrate_naively(
    model: PreTrainedModel, layers: list[MoELayer], windows: list[torch.Tensor]
) -> list[torch.Tensor]:
    """REAP's sums of gate weight x norm for each layer, every expert run on every token after the layer's own pass."""
    totals = [torch.zeros(layer.num_experts, device=windows[0].device) for layer in layers]

    def after(number: int, module: torch.nn.Module, args: tuple) -> None:
        hidden, indices, weights = args
        dense = torch.zeros(len(hidden), module.num_experts, device=hidden.device)
        dense.scatter_(1, indices, weights.float())
        for expert in range(module.num_experts):
            gate, up = (hidden @ module.gate_up_proj[expert].T).chunk(2, dim=-1)
            output = (module.act_fn(gate) * up) @ module.down_proj[expert].T
            totals[number][expert] += (output.float().norm(dim=-1) * dense[:, expert]).sum().item()

    handles = []
    for number, layer in enumerate(layers):
        (experts,) = layer.blocks[0].experts
        handles.append(experts.register_forward_hook(lambda m, args, out, number=number: after(number, m, args)))
    for tokens in windows:
        model(tokens, use_cache=False)
    for handle in handles:
        handle.remove()
    return totals
