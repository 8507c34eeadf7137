# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""How many experts a token is routed to, and in which module: found by running the model without weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from ..heterogeneous.attributes import global_value
from .experts_call import ExpertsCall


logger = logging.getLogger(__name__)

# What models call the number of experts that a token is routed to.
_TOP_K_NAMES = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "moe_topk",
    "moe_top_k",
    "moe_k",
    "top_k_experts",
    "num_selected_experts",
    "top_k",
)


@dataclass
class RoutedCall:
    """A call of experts that was seen.

    Attributes:
        path: Full name of the module that was called.
        top_k: Experts a token.
    """

    path: str
    top_k: int


def watch_experts(model: PreTrainedModel, owners: dict[str, str]) -> dict[str, RoutedCall]:
    """Run a model on the meta device with idle experts and see how they are called.

    Args:
        model: The model on the meta device.
        owners: The decoder layer of each module that owns experts, by full names.

    Returns:
        By owner, the outermost module around it that is called with expert indices and gate weights. Owners that text
        alone does not reach, or that come after something that needs values to run, are not in it.
    """
    seen: dict[str, RoutedCall] = {}
    with ExitStack() as undo:
        for owner, layer in owners.items():
            for path in _between(layer, owner):
                module = model.get_submodule(path)
                undo.callback(vars(module).pop, "forward", None)
                module.forward = _idle(module.forward, owner, path, seen)
        # A ready mask of four axes, because building one reads values, which meta tensors do not have.
        tokens = torch.zeros(1, 2, dtype=torch.long, device="meta")
        mask = torch.zeros(1, 1, 2, 2, dtype=model.dtype, device="meta")
        with torch.no_grad():
            try:
                model.eval()(input_ids=tokens, attention_mask=mask, use_cache=False)
            except Exception as error:  # the rest is read from the modules' attributes, or refused there
                logger.debug("%s does not run on the meta device: %s", type(model).__name__, error)
    return seen


def _between(layer: str, owner: str) -> Iterable[str]:
    """Names of the modules from just below a layer down to an owner."""
    parts = owner[len(layer) + 1 :].split(".")
    return [".".join([layer, *parts[: depth + 1]]) for depth in range(len(parts))]


def _idle(forward: Callable[..., Any], owner: str, path: str, seen: dict[str, RoutedCall]) -> Callable[..., Any]:
    def idle_forward(*args: Any, **kwargs: Any) -> Any:
        try:
            call = ExpertsCall(args, kwargs)
        except ValueError:
            return forward(*args, **kwargs)
        seen[owner] = RoutedCall(path, call.indices.shape[-1])
        return torch.zeros_like(call.hidden)

    return idle_forward


def read_top_k(block: nn.Module, config: PretrainedConfig) -> int:
    """The top-k that a block, one of its modules or the config names.

    Args:
        block: The module that runs the experts.
        config: Text config of the model.

    Raises:
        ValueError: None of them does, under any known name.
    """
    for name in _TOP_K_NAMES:
        for holder in block.modules():
            if isinstance(vars(holder).get(name), int):
                return vars(holder)[name]
        value = global_value(config, name)
        if isinstance(value, int):
            return value
    raise ValueError(
        f"Cannot tell how many experts {type(block).__name__} routes a token to: neither it nor the config has one of "
        f"{', '.join(_TOP_K_NAMES)}. Write an adapter with register_adapter."
    )


def group_limits(config: PretrainedConfig, top_k: int) -> tuple[int, int]:
    """Groups of a group-limited router (DeepSeek-V3 and its descendants) and the fewest experts it works with.

    Such a router scores a group by its two best experts, keeps `topk_group` groups, and takes the top-k from those;
    its reshape needs the same number of experts in each group.

    Args:
        config: Text config of the model.
        top_k: Experts that a token is routed to.

    Returns:
        Number of groups, 1 without group limits; and the fewest experts.
    """
    num_groups = global_value(config, "n_group") or 1
    if num_groups == 1:
        # One expert alone is not routed any more: some models build a dense layer then (Jamba).
        return 1, max(2, top_k)
    open_groups = global_value(config, "topk_group") or num_groups
    return num_groups, num_groups * max(2, math.ceil(top_k / open_groups))
