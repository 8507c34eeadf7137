# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Observer: what each expert did on the calibration data, read by forward hooks while the model runs once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from .adapters import ExpertsCall, MoELayer
from .statistics import ExpertStatistics, LayerStatistics


class ExpertObserver:
    """A context in which every experts module of a model adds up what its experts do.

    Each token is handed to its experts as top-k tokens with one expert and weight one; the outputs that come back are
    those of the experts themselves. Their norms are added up, then they are weighted and summed as the module would
    have done. So the indices and weights are the router's own, and no expert runs on a token not routed to it.

    Args:
        layers: The sparse layers to observe.
    """

    def __init__(self, layers: Sequence[MoELayer]):
        self._layers = list(layers)
        self._sums: dict[int, LayerStatistics] = {}
        self._handles: list[Any] = []
        self._mask: torch.Tensor | None = None
        self._num_tokens = 0

    def __enter__(self) -> ExpertObserver:
        for layer in self._layers:
            route = _Route()
            self._handles += [
                layer.experts.register_forward_pre_hook(self._before(route), with_kwargs=True),
                layer.experts.register_forward_hook(self._after(layer, route)),
            ]
        return self

    def __exit__(self, *exception) -> None:
        while self._handles:
            self._handles.pop().remove()

    def next_batch(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> None:
        """Say which tokens of the coming forward pass are padding; they are left out of all sums.

        Args:
            input_ids: Shape (batch, tokens).
            attention_mask: Shape (batch, tokens), 0 for padding; `None` for none.
        """
        self._mask = None if attention_mask is None else attention_mask.reshape(-1).bool()
        self._num_tokens += input_ids.numel() if self._mask is None else int(self._mask.sum())

    def statistics(self) -> ExpertStatistics:
        """The sums so far, on the CPU."""
        layers = {
            layer.index: self._sums.get(layer.index, LayerStatistics.zeros(layer.num_experts)).to("cpu")
            for layer in self._layers
        }
        return ExpertStatistics(layers, self._num_tokens)

    def _before(self, route: _Route):
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            call = ExpertsCall(args, kwargs)
            route.indices, route.weights = call.indices, call.weights
            return call.replace(
                indices=call.indices.reshape(-1, 1),
                hidden=call.hidden.repeat_interleave(call.indices.shape[-1], dim=0),
                weights=torch.ones_like(call.weights).reshape(-1, 1),
            )

        return hook

    def _after(self, layer: MoELayer, route: _Route):
        def hook(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
            outputs = output.view(*route.indices.shape, -1)
            self._add(layer, route, outputs)
            return torch.bmm(route.weights.to(outputs.dtype)[:, None], outputs)[:, 0]

        return hook

    def _add(self, layer: MoELayer, route: _Route, outputs: torch.Tensor) -> None:
        indices, weights = route.indices, route.weights.double()
        norms = torch.linalg.vector_norm(outputs, dim=-1, dtype=torch.float32).double()
        if self._mask is not None:
            real = self._mask.to(indices.device)
            indices, weights, norms = indices[real], weights[real], norms[real]
        sums = self._sums.get(layer.index)
        if sums is None:
            sums = self._sums[layer.index] = LayerStatistics.zeros(layer.num_experts, indices.device)
        flat = indices.reshape(-1).long()
        sums.routed_tokens.index_add_(0, flat, torch.ones_like(flat))
        sums.norm_sum.index_add_(0, flat, norms.reshape(-1))
        sums.weight_sum.index_add_(0, flat, weights.reshape(-1))
        sums.weighted_norm_sum.index_add_(0, flat, (weights * norms).reshape(-1))


class _Route:
    """What the router said in the call under way."""

    indices: torch.Tensor
    weights: torch.Tensor


@torch.no_grad()
def observe_experts(
    model: PreTrainedModel,
    layers: Sequence[MoELayer],
    batches: Sequence[dict[str, torch.Tensor]],
    progress: bool = True,
) -> ExpertStatistics:
    """Run `model` once over `batches` and add up what its experts do.

    Args:
        model: The unpruned model.
        layers: Its sparse layers.
        batches: Model inputs, `input_ids` and where needed `attention_mask` and `position_ids`; labels are ignored.
        progress: Show a progress bar.

    Raises:
        ValueError: The sums are not finite: the model gives NaN or infinite values.
    """
    with ExpertObserver(layers) as observer:
        for batch in tqdm(batches, desc="calibrate", unit="batch", disable=not progress):
            observer.next_batch(batch["input_ids"], batch.get("attention_mask"))
            inputs = {name: value for name, value in batch.items() if name != "labels"}
            model.base_model(**inputs, use_cache=False)
        statistics = observer.statistics()
    for index, sums in statistics.layers.items():
        if not torch.isfinite(sums.weighted_norm_sum).all():
            raise ValueError(
                f"The experts of layer {index} give NaN or infinite values on the calibration data. Check the "
                "weights, or load the model in another dtype (bfloat16 or float32 in place of float16)."
            )
    return statistics
