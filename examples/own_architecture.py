# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Prune an architecture of your own whose experts are called in a way that the package does not know.

Run it with `python examples/own_architecture.py`; it takes some seconds.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.adapters import MoEBlock, Routes, post_hook, pre_hook, register_adapter


class GatedConfig(PretrainedConfig):
    model_type = "gated_moe"

    def __init__(
        self, num_experts: int = 8, top_k: int = 2, hidden_size: int = 32, num_hidden_layers: int = 3, **kwargs
    ):
        self.num_experts, self.top_k = num_experts, top_k
        self.hidden_size, self.num_hidden_layers = hidden_size, num_hidden_layers
        super().__init__(**kwargs)


class EachExpert(nn.Module):
    """What every expert says to every token, shape (experts, tokens, hidden size)."""

    def __init__(self, config: GatedConfig):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(config.num_experts, config.hidden_size, config.hidden_size) / 4)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.tanh(torch.einsum("th,ehi->eti", hidden, self.weight))


class GatedExperts(nn.Module):
    """Takes hidden states and a matrix of gate weights, (tokens, experts), in place of the chosen experts' numbers."""

    def __init__(self, config: GatedConfig):
        super().__init__()
        self.each = EachExpert(config)

    def forward(self, hidden: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
        return torch.einsum("te,eth->th", gates, self.each(hidden))


class GatedLayer(nn.Module):
    def __init__(self, config: GatedConfig, layer_idx: int):
        super().__init__()
        self.top_k = config.top_k
        self.router = nn.Linear(config.hidden_size, config.num_experts, bias=False)
        self.experts = GatedExperts(config)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        flat = hidden.flatten(0, 1)
        scores = self.router(flat)
        best = scores.topk(self.top_k, dim=-1)
        gates = torch.zeros_like(scores).scatter(1, best.indices, best.values.softmax(-1))
        return hidden + self.experts(flat, gates).view(hidden.shape)


class GatedModel(PreTrainedModel):
    config_class = GatedConfig

    def __init__(self, config: GatedConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(64, config.hidden_size)
        self.layers = nn.ModuleList([GatedLayer(config, i) for i in range(config.num_hidden_layers)])
        self.post_init()

    def forward(self, input_ids: torch.Tensor, **kwargs) -> tuple[torch.Tensor]:
        hidden = self.embed_tokens(input_ids)
        for layer in self.layers:
            hidden = layer(hidden)
        return (hidden,)


class GatedForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = GatedConfig
    base_model_prefix = "model"

    def __init__(self, config: GatedConfig):
        super().__init__(config)
        self.model = GatedModel(config)
        self.lm_head = nn.Linear(config.hidden_size, 64, bias=False)
        self.post_init()

    def forward(self, input_ids: torch.Tensor, **kwargs) -> CausalLMOutput:
        return CausalLMOutput(logits=self.lm_head(self.model(input_ids)[0]))


# [adapter]
@register_adapter
class GateMatrixExperts(MoEBlock):
    """Experts that are called with hidden states and a matrix of gate weights."""

    @classmethod
    def claims(cls, owner: nn.Module, name: str) -> bool:
        """`owner` is the module that has the weights of the experts, `name` one of them."""
        return isinstance(owner, EachExpert)

    @classmethod
    def path_of(cls, owner_path: str) -> str:
        """The module that runs the experts stands around it."""
        return owner_path.removesuffix(".each")

    def restrict(self, kept, undo):
        """The router sees only `kept`, so its matrix is narrow; the experts' weights are whole, so widen it."""

        def widen(module, args, kwargs):
            hidden, gates = args
            wide = gates.new_zeros(len(gates), self.num_experts)
            wide[:, list(kept)] = gates
            return (hidden, wide), kwargs

        for experts in self.experts:
            undo.enter_context(pre_hook(experts, widen))

    def observe(self, record, undo):
        """Say which expert got which token, with which weight, and the norm of what it returned."""
        outputs = []

        def keep(module, args, output):
            outputs.append(output)

        def read(module, args, output):
            gates, by_expert = args[1], outputs.pop()
            tokens, experts = gates.nonzero(as_tuple=True)
            norms = by_expert[experts, tokens].norm(dim=-1).float()
            record(Routes(experts, gates[tokens, experts], norms, tokens, num_tokens=len(gates)))

        for experts in self.experts:
            undo.enter_context(post_hook(experts.each, keep))
            undo.enter_context(post_hook(experts, read))

    def weigh(self, factors, undo):
        """Let an expert count for more or less; only strategies that train keep logits ask for it."""

        def multiply(module, args, kwargs):
            hidden, gates = args
            return (hidden, gates * factors.to(gates)), kwargs

        for experts in self.experts:
            undo.enter_context(pre_hook(experts, multiply))


# [/adapter]


def main() -> None:
    torch.manual_seed(0)
    model = GatedForCausalLM(GatedConfig()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    texts = [{"input_ids": torch.randint(0, 64, (32,))} for _ in range(20)]
    config = EvoESAPConfig(
        sparsity=0.5, sequence_length=32, search_samples=8, population_size=8, num_elites=2, generations=5
    )
    pruner = MoEPruner(model, config)
    pruner.prune(calibration_data=texts, search_data=texts)
    print(f"removed from each layer: {pruner.allocation}; ESAP {pruner.scores['best']:.3f}")
    print(f"uniform allocation: ESAP {pruner.scores['uniform']:.3f}")


if __name__ == "__main__":
    main()
