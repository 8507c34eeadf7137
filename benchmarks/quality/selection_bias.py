# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Balance without a loss: the bias on the selection rises for experts with too few tokens and falls for the others."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel


def remember_choice(router: nn.Module, arguments: tuple, output: tuple[torch.Tensor, ...]) -> None:
    """A forward hook that keeps the chosen experts of each token, the last output of a router.

    Args:
        router: The router.
        arguments: What it was called with.
        output: What it gave.
    """
    router.chosen = output[-1]


class SelectionBias:
    """The rule for all routers of a model that have such a bias; for others there is nothing to do."""

    def __init__(self, model: PreTrainedModel, rate: float):
        """Watch the routers.

        Args:
            model: The model that is trained.
            rate: How far a bias moves in a step at the full learning rate.
        """
        self.rate = rate
        self.routers = [module for module in model.modules() if hasattr(module, "e_score_correction_bias")]
        for router in self.routers:
            router.register_forward_hook(remember_choice)

    @torch.no_grad()
    def update(self, counted: torch.Tensor, share: torch.Tensor) -> None:
        """Move every bias by what the step before it chose. Nothing here waits for the device, so it can be recorded.

        Args:
            counted: Of shape (rows, length): whether a token counts.
            share: Share of the full learning rate; with it the biases come to rest.
        """
        counted = counted.flatten().float().unsqueeze(1)
        for router in self.routers:
            bias = router.e_score_correction_bias
            chosen = bias.new_zeros(len(counted), len(bias)).scatter(1, router.chosen, 1.0)
            load = (chosen * counted).sum(0)
            bias.add_(self.rate * share * torch.sign(load.mean() - load))
