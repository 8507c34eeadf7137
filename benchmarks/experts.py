# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The experts of one layer, against their two grouped products. Run with `python -m benchmarks.experts`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch.nn.functional import grouped_mm
from transformers import PretrainedConfig
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from optimum_evoesap.kernels.experts import launch as experts_launch
from optimum_evoesap.kernels.experts import outputs as experts_outputs
from optimum_evoesap.kernels.experts.fused_experts import fused_experts
from optimum_evoesap.kernels.implementation import runs_products

from .models import SIZES, make_config
from .timing import measure, parse_arguments, report


def make_experts(config: PretrainedConfig) -> torch.nn.Module:
    """The experts module of the architecture, with random weights."""
    from transformers.models.olmoe.modeling_olmoe import OlmoeExperts
    from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts

    with torch.device("cuda"):
        experts = (OlmoeExperts if config.model_type == "olmoe" else Qwen3MoeExperts)(config).bfloat16()
    for parameter in experts.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return experts


def functions(experts: torch.nn.Module, hidden: torch.Tensor, top_k: int) -> dict[str, Callable[[], object]]:
    scores = torch.randn(hidden.shape[0], experts.num_experts, device="cuda").softmax(-1)
    weights, indices = scores.topk(top_k)
    weights = weights.bfloat16()
    _, places, offsets = experts_launch.group_routes(indices, experts.num_experts)
    spread = experts_launch.spread(hidden, places)
    up, down = experts.gate_up_proj.transpose(-2, -1), experts.down_proj.transpose(-2, -1)
    projected = grouped_mm(spread, up, offs=offsets)
    gated = experts_launch.silu_gate(projected)
    outputs = grouped_mm(gated, down, offs=offsets)

    def by_torch() -> object:
        with patch.object(experts_outputs, "runs_products", lambda *operands: False):
            return fused_experts(experts, hidden, indices, weights)

    standard = ALL_EXPERTS_FUNCTIONS["grouped_mm"]
    compiled = torch.compile(standard)
    found: dict[str, Callable[[], object]] = {
        "two grouped products": lambda: (
            grouped_mm(spread, up, offs=offsets), grouped_mm(gated, down, offs=offsets)
        ),
        "fused": lambda: fused_experts(experts, hidden, indices, weights),
        "fused around the products of torch": by_torch,
        "fused, with norms": lambda: fused_experts(experts, hidden, indices, weights, with_norms=True),
        "of which: group_routes": lambda: experts_launch.group_routes(indices, experts.num_experts),
        "of which: spread": lambda: experts_launch.spread(hidden, places),
        "of which: silu_gate": lambda: experts_launch.silu_gate(projected),
        "of which: combine": lambda: experts_launch.combine(
            outputs, places, indices, weights, experts.num_experts, False
        ),
        "transformers grouped_mm": lambda: standard(experts, hidden, indices, weights),
        "transformers grouped_mm, torch.compile": lambda: compiled(experts, hidden, indices, weights),
        "transformers eager": lambda: type(experts).forward.__wrapped__(experts, hidden, indices, weights),
    }  # fmt: skip
    if runs_products(experts.gate_up_proj, experts.down_proj):
        found |= functions_of_tiles(experts, hidden, indices)
    try:
        from liger_kernel.ops.fused_moe import LigerFusedMoEFunction
    except ImportError:
        return found
    found["Liger fused_moe"] = lambda: LigerFusedMoEFunction.apply(
        hidden, experts.gate_up_proj, experts.down_proj, indices.int(), weights
    )
    return found


def functions_of_tiles(
    experts: torch.nn.Module, hidden: torch.Tensor, indices: torch.Tensor
) -> dict[str, Callable[[], object]]:
    """What our own products take."""
    from optimum_evoesap.kernels.experts.grouped_product import grouped_product, row_tiles

    _, places, offsets = experts_launch.group_routes(indices, experts.num_experts)
    tiles = row_tiles(indices, places, offsets)
    rows = experts_launch.spread(hidden, tiles.places, tiles.num_rows)
    activated = grouped_product(rows, experts.gate_up_proj, tiles, has_silu_gate=True)
    return {
        "of which: row_tiles": lambda: row_tiles(indices, places, offsets),
        "of which: gate, up and silu": lambda: grouped_product(rows, experts.gate_up_proj, tiles, has_silu_gate=True),
        "of which: down": lambda: grouped_product(activated, experts.down_proj, tiles),
    }


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--tokens", type=int, nargs="+", default=[16384])
    arguments = parse_arguments(parser)
    for name in arguments.models:
        config = make_config(name)
        torch.manual_seed(0)
        experts = make_experts(config)
        for tokens in arguments.tokens:
            hidden = torch.randn(tokens, config.hidden_size, device="cuda").bfloat16()
            timings = measure(functions(experts, hidden, config.num_experts_per_tok), rounds=10)
            sizes = {"rows": tokens, "hidden": config.hidden_size, "dtype": "bfloat16"}
            report(timings, "two grouped products", what=f"experts of {name}", **sizes)


if __name__ == "__main__":
    main()
