# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A model as many on the Hub have it: a `ModuleList` of experts and a linear router, in two usual kinds of loop.

Even layers loop over the experts with masks and return the router's logits; odd layers sort the tokens by expert,
without gradients, and add a shared expert.
"""

import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_listed_moe import ListedMoeConfig


class ListedExpert(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.moe_intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.moe_intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.moe_intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden):
        return self.down_proj(nn.functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden))


class MaskedBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_experts = config.n_routed_experts
        self.top_k = config.num_experts_per_tok
        self.gate = nn.Linear(config.hidden_size, self.num_experts, bias=False)
        self.experts = nn.ModuleList([ListedExpert(config) for _ in range(self.num_experts)])

    def forward(self, hidden):
        flat = hidden.view(-1, hidden.shape[-1])
        logits = self.gate(flat)
        weights, chosen = torch.topk(nn.functional.softmax(logits, dim=1, dtype=torch.float), self.top_k, dim=-1)
        weights = (weights / weights.sum(-1, keepdim=True)).to(flat.dtype)
        total = torch.zeros_like(flat)
        mask = nn.functional.one_hot(chosen, num_classes=self.num_experts).permute(2, 1, 0)
        for number in range(self.num_experts):
            place, token = torch.where(mask[number])
            output = self.experts[number](flat[token]) * weights[token, place, None]
            total.index_add_(0, token, output)
        return total.view(hidden.shape), logits


class SortedBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.experts = nn.ModuleList([ListedExpert(config) for _ in range(config.n_routed_experts)])
        self.gate = nn.Linear(config.hidden_size, config.n_routed_experts)
        self.shared_experts = ListedExpert(config)

    def forward(self, hidden):
        flat = hidden.view(-1, hidden.shape[-1])
        weights, chosen = torch.topk(self.gate(flat).float().sigmoid(), self.config.num_experts_per_tok, dim=-1)
        return self.infer(flat, chosen, weights).view(hidden.shape) + self.shared_experts(hidden)

    @torch.no_grad()
    def infer(self, flat, chosen, weights):
        order = chosen.view(-1).argsort(stable=True)
        sorted_tokens = flat[order // chosen.shape[1]]
        counts = torch.bincount(chosen.view(-1), minlength=len(self.experts)).tolist()
        outputs, start = [], 0
        for expert, count in zip(self.experts, counts):
            if count:
                outputs.append(expert(sorted_tokens[start : start + count]))
                start += count
        unsorted = torch.empty_like(torch.cat(outputs))
        unsorted[order] = torch.cat(outputs)
        by_token = unsorted.view(*chosen.shape, -1).type(weights.dtype)
        return (by_token * weights.unsqueeze(-1)).sum(1).type(flat.dtype)


class ListedMoeDecoderLayer(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.layer_idx = layer_idx
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.out = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.attention_norm = nn.RMSNorm(config.hidden_size)
        self.mlp_norm = nn.RMSNorm(config.hidden_size)
        self.mlp = MaskedBlock(config) if layer_idx % 2 == 0 else SortedBlock(config)

    def forward(self, hidden, mask, cache):
        parts = self.qkv(self.attention_norm(hidden)).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        if cache is not None:
            key, value = cache.update(key, value, self.layer_idx)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        hidden = hidden + self.out(attended.transpose(1, 2).flatten(2))
        added = self.mlp(self.mlp_norm(hidden))
        return hidden + (added[0] if isinstance(added, tuple) else added)


class ListedMoePreTrainedModel(PreTrainedModel):
    config_class = ListedMoeConfig
    base_model_prefix = "model"
    _supports_sdpa = True


class ListedMoeModel(ListedMoePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([ListedMoeDecoderLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = nn.RMSNorm(config.hidden_size)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=None, **kwargs):
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        seen = past_key_values.get_seq_length() if past_key_values is not None else 0
        hidden = self.embed_tokens(input_ids)
        length = input_ids.shape[1]
        mask = torch.ones(length, seen + length, dtype=torch.bool, device=hidden.device).tril(seen)[None, None]
        if attention_mask is not None and attention_mask.ndim == 2:
            mask = mask & attention_mask[:, None, None, :].bool() | torch.eye(
                length, seen + length, dtype=torch.bool, device=hidden.device
            )
        for layer in self.layers:
            hidden = layer(hidden, mask, past_key_values)
        return (self.norm(hidden), past_key_values)


class ListedMoeForCausalLM(ListedMoePreTrainedModel, GenerationMixin):
    def __init__(self, config):
        super().__init__(config)
        self.model = ListedMoeModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=None, labels=None, **kwargs):
        hidden, past_key_values = self.model(input_ids, attention_mask, past_key_values, use_cache)
        return CausalLMOutputWithPast(logits=self.lm_head(hidden), past_key_values=past_key_values)
