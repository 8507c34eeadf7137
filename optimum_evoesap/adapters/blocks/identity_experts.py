# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""LongCat-Flash: besides its experts there are some that return the token as it is.

Source: `LongcatFlashExperts` in transformers/models/longcat_flash/modeling_longcat_flash.py. Indices past the last
expert mean identity. With one expert a token its loop fails, so a route cannot be run alone.
"""

from __future__ import annotations

import torch
from torch import nn

from ..block import register_adapter
from ..experts_call import ExpertsCall
from .routed_experts import RoutedExperts


@register_adapter
class IdentityExperts(RoutedExperts):
    """Routed experts followed by identity experts."""

    @classmethod
    def claims(cls, owner: nn.Module, name: str) -> bool:
        """A module with an identity expert.

        Args:
            owner: The module, on the meta device.
            name: Name of a tensor of it.
        """
        return hasattr(owner, "identity_expert")

    @staticmethod
    def single_routes(call: ExpertsCall) -> tuple[torch.Tensor, torch.Tensor]:
        """Each route with weight one, and once more with weight zero."""
        indices = call.indices.reshape(-1, 1).expand(-1, 2)
        weights = torch.ones_like(call.weights).reshape(-1, 1)
        return indices, torch.cat([weights, torch.zeros_like(weights)], dim=1)
