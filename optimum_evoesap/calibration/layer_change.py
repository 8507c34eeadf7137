# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`LayerChange`]: how much the output of one layer changes without each of its experts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch

from ..adapters import MoELayer, Routes
from ..models.virtual_slice import VirtualSlice
from .left_out import experts_left_out
from .module_calls import CallWatch, ModuleCall, smallest_modules
from .statistics import LayerStatistics


logger = logging.getLogger(__name__)

# The tokens of an expert are run alone where all others change by less than this share of what experts change on the
# average, or by less than the rounding of the dtype; tried on some tokens.
_LARGEST_LOSS = 1e-3
_TOKENS_TRIED = 1024
# What a module gives when it is called again with the same input may differ by this share, the rounding of bfloat16.
_LARGEST_DRIFT = 1e-2


class LayerChange:
    """Sums over tokens of the L2 norm of the change of a layer's output, expert by expert.

    The output is that of the smallest module that runs the layer's routers and experts. It runs again, on the input
    that it really got, under the virtual slice. Where no other tokens change than those of the expert, which is tried
    out on the first call, it runs on those alone.

    Args:
        layer: The layer.
        statistics: What its experts did on the calibration data.
    """

    def __init__(self, layer: MoELayer, statistics: LayerStatistics):
        self.layer = layer
        self.modules = smallest_modules(layer)
        self._left_out = experts_left_out(layer, statistics)
        # The least used experts of all groups are left out together: one measurement for all of them.
        self._sets = list(dict.fromkeys(self._left_out))
        self._sums = torch.zeros(len(self._sets), dtype=torch.float64)
        self._of_batch: list[torch.Tensor] = []
        self._mask: torch.Tensor | None = None
        self._has_run = False
        # Not known before the first call; except that one expert more or less in a group may open it, or close it, for
        # any token.
        self._takes_rows: bool | None = None if layer.num_groups == 1 else False

    @property
    def can_lose_experts(self) -> bool:
        """Whether there is something to measure."""
        return bool(self._left_out)

    def scores(self) -> torch.Tensor:
        """Scores of the experts, shape (experts,), float64, on the CPU; zeros where the layer cannot lose any.

        Raises:
            ValueError: They are not finite, or the module of the layer has not run.
        """
        if not self.can_lose_experts:
            return torch.zeros(self.layer.num_experts, dtype=torch.float64)
        if not self._has_run:
            raise ValueError(
                f"The module that runs the experts of layer {self.layer.index} ({type(self.modules[0]).__name__}) is "
                "never called as a module, so that its output cannot be measured. Choose another criterion."
            )
        if not torch.isfinite(self._sums).all():
            raise ValueError(
                f"Layer {self.layer.index} gives NaN or infinite values without some of its experts. Check the "
                "weights, or load the model in another dtype (bfloat16 or float32 in place of float16)."
            )
        return self._sums[[self._sets.index(left_out) for left_out in self._left_out]]

    def watch(self, mask: torch.Tensor | None, after_call: Callable[[], None], undo: ExitStack) -> None:
        """Measure each call of the layer's module in one batch; what is left of one that failed is forgotten.

        Args:
            mask: Which tokens of the batch are no padding, flattened; `None` where all are.
            after_call: Called after each call.
            undo: Gets what ends it.
        """
        self._mask, self._of_batch = mask, []

        def use(call: ModuleCall) -> None:
            self._of_batch.append(self._measure(call))
            after_call()

        for module in self.modules:
            CallWatch(module, use).watch(undo)

    def end_batch(self) -> None:
        """Count what the batch has added, once it has gone through the whole model."""
        for sums in self._of_batch:
            self._sums += sums
        self._has_run |= bool(self._of_batch)
        self._of_batch = []

    @property
    def sums(self) -> torch.Tensor:
        """What all batches so far have added, for each set of experts that is left out; float64, on the CPU."""
        return self._sums

    @property
    def way(self) -> list[bool | None]:
        """Whether the module has run, and whether it runs on the tokens of an expert alone, where that is known."""
        return [self._has_run, self._takes_rows]

    def go_on_from(self, sums: torch.Tensor, way: Sequence[bool | None]) -> None:
        """Begin with what an earlier run has measured.

        Args:
            sums: Its `sums`.
            way: Its `way`.

        Raises:
            ValueError: They are of other sets of experts.
        """
        if sums.shape != self._sums.shape:
            raise ValueError(f"{len(sums)} sums of layer {self.layer.index}, which has {len(self._sums)}")
        self._sums, (has_run, self._takes_rows) = sums.clone(), way
        self._has_run = bool(has_run)

    def _measure(self, call: ModuleCall) -> torch.Tensor:
        if not self._has_run and not self._of_batch:
            self._check_repeats(call)
        real = self._real_tokens(call)
        routed = None if self._takes_rows is False else self._routed(call)
        if routed is not None:
            routed &= real[:, None]
        if self._takes_rows is None:
            self._takes_rows = routed is not None and self._only_own_tokens_change(call, routed, real)
        if routed is None or not self._takes_rows:
            sums = [self._change(call, left_out, real) for left_out in self._sets]
        else:
            sums = [self._change_of_rows(call, expert, routed[:, expert]) for (expert,) in self._sets]
        return torch.stack(sums).cpu()

    def _change(self, call: ModuleCall, left_out: Sequence[int], real: torch.Tensor) -> torch.Tensor:
        with self._without(left_out):
            output = call.again()
        return _norms(output - call.output)[real].sum()

    def _change_of_rows(self, call: ModuleCall, expert: int, own: torch.Tensor) -> torch.Tensor:
        rows = own.nonzero()[:, 0]
        if not len(rows):
            return torch.zeros((), dtype=torch.float64, device=rows.device)
        with self._without([expert]):
            output = call.on_rows(rows)
        return _norms(output - call.output[rows]).sum()

    def _without(self, left_out: Sequence[int]) -> VirtualSlice:
        kept = [expert for expert in range(self.layer.num_experts) if expert not in left_out]
        return VirtualSlice([self.layer], {self.layer.index: kept})

    def _routed(self, call: ModuleCall) -> torch.Tensor | None:
        """Which experts work on which tokens, shape (tokens, experts); `None` where tokens cannot be run alone."""
        if not call.can_take_rows:
            return None
        (block,) = self.layer.blocks
        seen: list[Routes] = []
        with ExitStack() as undo:
            block.observe(seen.append, undo)
            call.again()
        if len(seen) != 1 or seen[0].num_tokens != len(call.output):
            return None
        (routes,) = seen
        counted = (routes.experts >= 0) & (routes.experts < block.num_experts) & (routes.weights != 0)
        table = torch.zeros(len(call.output), block.num_experts, dtype=torch.bool, device=call.output.device)
        table[routes.tokens[counted], routes.experts[counted].long()] = True
        return table

    def _only_own_tokens_change(self, call: ModuleCall, routed: torch.Tensor, real: torch.Tensor) -> bool:
        """Whether the tokens of an expert, run alone, give its score; tried with each expert on some tokens.

        They do not where the weights of all tokens change with the number of experts (a softmax over all of them that
        is not normalised after the choice), or where tokens see each other in the module.
        """
        tokens = real.nonzero()[:, 0]
        tokens = tokens[:: max(1, len(tokens) // _TOKENS_TRIED)]
        try:
            alone = call.on_rows(tokens)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            logger.info("Layer %d takes no tokens alone, so it runs on all of them (%s).", self.layer.index, error)
            return False
        drift = _norms(alone - call.output[tokens]).sum() / _norms(alone).sum()
        own, others = torch.zeros(2, self.layer.num_experts, dtype=torch.float64, device=alone.device)
        for expert in range(self.layer.num_experts):
            with self._without([expert]):
                norms = _norms(call.on_rows(tokens) - alone)
            is_own = routed[tokens, expert]
            own[expert], others[expert] = norms[is_own].sum(), norms[~is_own].sum()
        largest_loss = max(_LARGEST_LOSS, torch.finfo(alone.dtype).eps)
        only_own = drift <= _LARGEST_DRIFT and others.max() <= largest_loss * own.mean()
        if not only_own:
            logger.info("All tokens of layer %d change without an expert, so it runs on all.", self.layer.index)
        return bool(only_own)

    def _check_repeats(self, call: ModuleCall) -> None:
        drift, size = _norms(call.again() - call.output).sum(), _norms(call.output).sum()
        if drift > _LARGEST_DRIFT * size:
            raise ValueError(
                f"{type(call.module).__name__} of layer {self.layer.index} gives another output when it is called "
                "again with the same input, so that a change cannot be measured. Choose another criterion."
            )

    def _real_tokens(self, call: ModuleCall) -> torch.Tensor:
        num_tokens = len(call.output)
        if self._mask is None:
            return torch.ones(num_tokens, dtype=torch.bool, device=call.output.device)
        if self._mask.numel() != num_tokens:
            raise ValueError(
                f"Layer {self.layer.index} gets {num_tokens} tokens of a batch of {self._mask.numel()}, so padding "
                "cannot be told from tokens. Give the calibration data without padding (batch_size=1)."
            )
        return self._mask.to(call.output.device)


def _norms(rows: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float32).double()
