# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`SharedForward`]: final hidden states of many candidates, where what they have in common runs once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakSet

import torch
from transformers import PreTrainedModel

from .batching import Batch
from .prefix import LayeredForward, Output, join_outputs, map_output
from .shared_work import Fork, Kept
from .sparse_model import SparseModel
from .waiting import WaitingRoom


logger = logging.getLogger(__name__)

# Outputs of layers that wait on a GPU until the candidates that start from them have run.
WAITING_BYTES = 2 * 10**9
# How far rows that share a batch may lie from what they are alone, as a share of their mean size: far more than
# rounding, far less than what happens to a model whose rows are not independent.
_ROUNDING = 0.05
# What a layer fails with that misses what an earlier one would have left for it: an entry, an attribute, a variable, a
# tensor in place of nothing, a shape. Other failures are not for the trial to hide, nor are those of the device, which
# are runtime errors too.
_MISSING = (LookupError, AttributeError, NameError, TypeError, ValueError, AssertionError, RuntimeError)
_DEVICE_FAILED = (torch.OutOfMemoryError, *([torch.AcceleratorError] if hasattr(torch, "AcceleratorError") else []))
# Models of which the log has said that their candidates run whole: once each, whatever scores them.
_SAID_WHOLE: WeakSet[PreTrainedModel] = WeakSet()


@dataclass
class Prefix:
    """What the layers before `layer` gave, batch by batch; `None` where no layer comes before."""

    layer: int = 0
    outputs: list[Output] | None = None

    def of(self, number: int, device: torch.device) -> Output:
        """What a pass of a batch starts from.

        Args:
            number: The batch.
            device: Where it is needed.
        """
        if self.outputs is None:
            return None
        return map_output(lambda tensor: tensor.to(device, non_blocking=True), self.outputs[number])


@dataclass
class Pass:
    """One batch of one group of candidates that has gone through the model.

    Attributes:
        members: The candidates, by number.
        number: The batch.
        hidden: For each of them what enters the output layer, shape (windows, tokens, hidden size).
    """

    members: tuple[int, ...]
    number: int
    hidden: list[torch.Tensor]


class SharedForward:
    """Runs candidates as virtual slices of a model.

    Candidates that begin with the same layers start from what these gave. Those that differ in one layer alone share
    batches that would not be full. The first time that a pass starts at a layer its result is compared with that of
    the whole forward; where the bits differ the whole forward is used from then on, and the log says so once.

    Args:
        sparse_model: The unpruned model.
        most_together: Candidates that share a batch at most.

    Attributes:
        most_together: The same; it may be changed.
        whole_tokens: Tokens that have gone through the whole model; through some of its layers they count in part.
        starts: Whether a pass that starts at a decoder layer gives the bits of the whole one, where that was tried.
    """

    def __init__(self, sparse_model: SparseModel, most_together: int = 1):
        self.most_together = most_together
        self.whole_tokens = 0.0
        self._sparse_model = sparse_model
        self._forward = LayeredForward(sparse_model)
        self._num_layers = len(self._forward.decoder_layers)
        self.starts: dict[int, bool] = {}
        self._shares_rows: bool | None = None
        self._room = WaitingRoom(WAITING_BYTES)
        if not self._num_layers:
            self._say_whole("its decoder layers do not stand in one list, each once")

    @torch.no_grad()
    def run(
        self, tree: Fork, candidates: Sequence[Kept], batches: Sequence[Batch], is_done: Callable[[int], bool]
    ) -> Generator[Pass, None, None]:
        """Run every candidate on every batch, group by group; to be closed where it is left early.

        Args:
            tree: What the candidates share.
            candidates: Kept experts by decoder layer; a layer that is not named is whole.
            batches: Inputs of the model.
            is_done: Whether a candidate is known already; a group in which all are is left out.
        """
        waiting = [(tree, Prefix())]
        while waiting:
            fork, prefix = waiting.pop()
            if all(map(is_done, fork.members)):
                continue
            if len(fork.members) > 1:
                prefix = self._advance(prefix, fork, candidates, batches)
            for leaf in fork.leaves:
                for group in self._groups(leaf, fork, batches):
                    if not all(map(is_done, group)):
                        yield from self._run_group(group, fork, prefix, candidates, batches)
            # The branch with the most candidates comes last, when nothing needs what this fork starts from any more.
            waiting += [(branch, prefix) for branch in reversed(fork.branches)]

    def _advance(self, prefix: Prefix, fork: Fork, candidates: Sequence[Kept], batches: Sequence[Batch]) -> Prefix:
        """Run the layers before a fork, which are the same for all its members."""
        if fork.layer <= prefix.layer or not self._may_start:
            return prefix
        kept = candidates[fork.members[0]]
        outputs = []
        with self._sparse_model.sliced({layer: kept[layer] for layer in kept if layer < fork.layer}):
            for number, inputs in enumerate(batches):
                given = prefix.of(number, inputs["input_ids"].device)
                output = self._forward.output(inputs, fork.layer, prefix.layer, given)
                self._count(inputs, fork.layer - prefix.layer)
                if not self._is_exact(fork.layer, inputs, output):
                    return Prefix()
                outputs.append(map_output(self._room.keep, output))
        return Prefix(fork.layer, outputs)

    def _is_exact(self, layer: int, inputs: Batch, given: Output) -> bool:
        """Whether a pass may start at a layer; tried the first time, with the model as it is sliced now."""
        if layer not in self.starts:
            whole, reason = self._forward.hidden(inputs), "a pass that starts at layer {} gives other bits"
            try:
                self.starts[layer] = torch.equal(self._forward.hidden(inputs, layer, given), whole)
            except _DEVICE_FAILED:
                raise
            except _MISSING as error:
                self.starts[layer] = False
                reason = "a pass cannot start at layer {}: " + f"{type(error).__name__}: {error}"
            self._count(inputs, 2 * self._num_layers - layer)
            if not self.starts[layer]:
                self._say_whole(reason.format(layer))
        return self.starts[layer]

    def _run_group(
        self,
        group: tuple[int, ...],
        fork: Fork,
        prefix: Prefix,
        candidates: Sequence[Kept],
        batches: Sequence[Batch],
    ) -> Iterator[Pass]:
        if len(group) == 1:
            with self._sparse_model.sliced(candidates[group[0]]):
                for number, inputs in enumerate(batches):
                    yield Pass(group, number, [self._hidden(inputs, number, prefix)])
            return
        for number, inputs in enumerate(batches):
            hidden = self._hidden_together(inputs, number, group, fork, prefix, candidates)
            if hidden is None:
                break
            yield Pass(group, number, hidden)
        else:
            return
        for one in group:
            yield from self._run_group((one,), fork, prefix, candidates, batches)

    def _hidden(self, inputs: Batch, number: int, prefix: Prefix) -> torch.Tensor:
        """Of the candidate as which the model is sliced now."""
        self._count(inputs, self._num_layers - prefix.layer)
        return self._forward.hidden(inputs, prefix.layer, prefix.of(number, inputs["input_ids"].device))

    def _hidden_together(
        self,
        inputs: Batch,
        number: int,
        group: tuple[int, ...],
        fork: Fork,
        prefix: Prefix,
        candidates: Sequence[Kept],
    ) -> list[torch.Tensor] | None:
        """Of candidates that differ in one layer alone: that layer runs for each, the others for all at once."""
        sliced, kept = self._sparse_model.sliced, [candidates[one] for one in group]
        given = prefix.of(number, inputs["input_ids"].device)
        stop, before = fork.layer + 1, {layer: kept[0][layer] for layer in kept[0] if layer < fork.layer}
        each = [sliced({fork.layer: one[fork.layer]} if fork.layer in one else {}) for one in kept]
        with sliced(before):
            outputs = self._forward.outputs(inputs, stop, each, prefix.layer, given)
        self._count(inputs, fork.layer - prefix.layer + len(group))
        if stop not in self.starts:
            with sliced(kept[0]):
                if not self._is_exact(stop, inputs, outputs[0]):
                    return None
        rows = {name: torch.cat([tensor] * len(group)) for name, tensor in inputs.items()}
        with sliced({layer: kept[0][layer] for layer in kept[0] if layer > fork.layer}):
            hidden = self._forward.hidden(rows, stop, join_outputs(outputs)).chunk(len(group))
        self._count(inputs, len(group) * (self._num_layers - stop))
        if self._shares_rows is None:
            with sliced(kept[0]):
                if not self._are_independent(hidden[0], inputs):
                    return None
        return list(hidden)

    def _are_independent(self, hidden: torch.Tensor, inputs: Batch) -> bool:
        """Whether rows that share a batch come out as they do alone, within rounding; asked once."""
        if self._shares_rows is None:
            alone = self._forward.hidden(inputs).float()
            self._count(inputs, self._num_layers)
            self._shares_rows = bool((hidden.float() - alone).abs().mean() <= _ROUNDING * alone.abs().mean())
            if not self._shares_rows:
                logger.info("The rows of a batch are not independent in this model: candidates share none.")
        return self._shares_rows

    def _groups(self, leaf: tuple[int, ...], fork: Fork, batches: Sequence[Batch]) -> Iterator[tuple[int, ...]]:
        """The candidates of a leaf in groups that fill batches; one by one where they cannot share them."""
        while leaf:
            # Asked each time: the group before may have shown that they cannot.
            size = self.most_together if self._can_share_rows(fork, batches) else 1
            yield leaf[:size]
            leaf = leaf[size:]

    def _can_share_rows(self, fork: Fork, batches: Sequence[Batch]) -> bool:
        if self._shares_rows is False or not self._may_start or not self.starts.get(fork.layer + 1, True):
            return False
        return all(len(tensor) == len(each["input_ids"]) for each in batches for tensor in each.values())

    @property
    def _may_start(self) -> bool:
        return self._num_layers > 0 and all(self.starts.values())

    def _count(self, inputs: Batch, num_layers: int) -> None:
        share = num_layers / self._num_layers if self._num_layers else 1.0
        self.whole_tokens += inputs["input_ids"].numel() * share

    def _say_whole(self, reason: str) -> None:
        model = self._sparse_model.model
        if model not in _SAID_WHOLE:
            _SAID_WHOLE.add(model)
            logger.warning(
                "In %s no pass can start from what the layers before gave (%s): every candidate runs through all its "
                "layers. The scores are the same, but take about twice as long.",
                type(model).__name__,
                reason,
            )
