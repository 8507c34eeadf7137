# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Observer: what each expert did on the calibration data, read by forward hooks while the model runs once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch

from ..adapters import MoEBlock, MoELayer, Routes
from ..adapters.block import Record
from ..models.batching import Batch, Windows
from ..models.output_head import final_hidden_states
from ..models.progress_bar import ProgressBar
from ..models.sparse_model import SparseModel
from ..models.unfinished import NOT_KEPT, Part, Unfinished
from .same_draws import same_draws
from .statistics import ExpertStatistics, LayerStatistics


logger = logging.getLogger(__name__)


class _SumsByExpert:
    """Adds up values of routes by expert, in an order that does not change from run to run.

    Adding straight into as many sums as there are experts would be in no order at all on a GPU, and wait in line.
    """

    def __init__(self, routes: Routes, counted: torch.Tensor, num_experts: int):
        self._shape = (routes.num_tokens, num_experts + 1)
        self._places = routes.tokens * (num_experts + 1) + torch.where(counted, routes.experts, num_experts).long()

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        table = values.new_zeros(self._shape)
        table.view(-1).index_add_(0, self._places, values)
        return table[:, :-1].sum(dim=0)

    def largest(self, values: torch.Tensor) -> torch.Tensor:
        """The largest value of each expert, which is the same in every order; 0 where there is none."""
        most = values.new_zeros(self._shape[1])
        return most.scatter_reduce_(0, self._places % self._shape[1], values, "amax")[:-1]


def _weight_sums(routes: Routes, weights: torch.Tensor, num_experts: int) -> torch.Tensor:
    """The sum of the gate weights of each token, also those for no expert; 1 where it is 0."""
    width = num_experts + 1
    by_token = weights.new_zeros(routes.num_tokens, width)
    experts = torch.where((routes.experts >= 0) & (routes.experts < num_experts), routes.experts, num_experts)
    by_token.view(-1).index_add_(0, routes.tokens * width + experts.long(), weights)
    sums = by_token.sum(dim=1)
    return torch.where(sums == 0, 1.0, sums)


class ExpertObserver:
    """A context in which every block of experts of a model adds up what its experts do.

    What they do is read by the adapter of the block: the router's own choices and weights, and the outputs that the
    experts really computed. No expert runs a second time, and no router is computed a second way.

    Args:
        layers: The sparse layers to observe.
    """

    def __init__(self, layers: Sequence[MoELayer]):
        self._layers = list(layers)
        self._sums = {layer.index: LayerStatistics.zeros(layer.num_experts) for layer in self._layers}
        # What the batch that runs now adds: layer, experts, sums. Counted once it has gone through the whole model.
        self._of_batch: list[tuple[int, slice, LayerStatistics]] = []
        self._undo = ExitStack()
        self._mask: torch.Tensor | None = None
        self._num_tokens = 0

    def __enter__(self) -> ExpertObserver:
        self._watch()
        return self

    def __exit__(self, *exception) -> None:
        self._undo.close()

    @contextmanager
    def batch(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> Iterator[None]:
        """A context for one forward pass, whose sums count when it ends without an exception.

        After an exception all that was seen of the pass is forgotten, and the next one begins afresh.

        Args:
            input_ids: Shape (batch, tokens).
            attention_mask: Shape (batch, tokens), 0 for padding, which is left out of all sums; `None` for none.

        Raises:
            RuntimeError: No experts ran in the pass.
        """
        self._mask = None
        if attention_mask is not None and not bool(attention_mask.all()):
            self._mask = attention_mask.reshape(-1).bool()
        self._of_batch = []
        try:
            yield
        except BaseException:
            # An adapter keeps what it saw of a call until the call ends: one that failed halfway would be taken for
            # part of the next one, and holds memory that may just have run out. It goes with the hooks.
            self._of_batch = []
            self._undo.close()
            self._watch()
            raise
        if not self._of_batch:
            raise RuntimeError(
                "No experts were seen in this forward pass: the observer must run where it was entered."
            )
        for index, experts, sums in self._of_batch:
            self._sums[index].add_(sums, experts)
        self._num_tokens += input_ids.numel() if self._mask is None else int(self._mask.sum())

    def go_on_from(self, statistics: ExpertStatistics) -> None:
        """Begin with the sums over batches that were seen before, in place of none.

        Args:
            statistics: The sums, of the same layers.
        """
        self._sums, self._num_tokens = dict(statistics.layers), statistics.num_tokens

    def statistics(self) -> ExpertStatistics:
        """The sums so far, on the CPU."""
        return ExpertStatistics({index: sums.to("cpu") for index, sums in self._sums.items()}, self._num_tokens)

    def _watch(self) -> None:
        with ExitStack() as undo:
            for layer in self._layers:
                for number, block in enumerate(layer.blocks):
                    block.observe(self._recorder(layer, block, number * layer.experts_per_block), undo)
            self._undo = undo.pop_all()

    def _recorder(self, layer: MoELayer, block: MoEBlock, offset: int) -> Record:
        def record(routes: Routes) -> None:
            # Zero experts, skipped tokens and experts without weight add nothing to the hidden state.
            counted = (routes.experts >= 0) & (routes.experts < block.num_experts) & (routes.weights != 0)
            if self._mask is not None:
                counted &= self._real_tokens(layer, routes)[routes.tokens]
            weights, norms = routes.weights.double(), routes.norms.double()
            by_expert = _SumsByExpert(routes, counted, block.num_experts)
            sums = LayerStatistics(
                by_expert(torch.ones_like(norms)).long(),
                by_expert(norms),
                by_expert(weights),
                by_expert(weights * norms),
                by_expert(weights / _weight_sums(routes, weights, block.num_experts)[routes.tokens] * norms),
                by_expert(norms * norms),
                by_expert.largest(norms),
            )
            self._of_batch.append((layer.index, slice(offset, offset + block.num_experts), sums))

        return record

    def _real_tokens(self, layer: MoELayer, routes: Routes) -> torch.Tensor:
        assert self._mask is not None
        if routes.num_tokens != self._mask.numel():
            raise ValueError(
                f"The experts of layer {layer.index} get {routes.num_tokens} tokens of a batch of "
                f"{self._mask.numel()}, so padding cannot be told from tokens. Give the calibration data without "
                "padding (batch_size=1)."
            )
        return self._mask.to(routes.tokens.device)


@torch.no_grad()
def observe_experts(
    sparse_model: SparseModel, batches: Sequence[Batch], progress: bool = True, unfinished: Unfinished = NOT_KEPT
) -> ExpertStatistics:
    """Run a model once over `batches` and add up what its experts do.

    Args:
        sparse_model: The unpruned model.
        batches: Model inputs, `input_ids` and where needed `attention_mask` and `position_ids`; labels are ignored.
        progress: Show a progress bar.
        unfinished: Keeps the sums from time to time, and brings those of a killed run. Sums that go on are the same,
            bit for bit.

    Raises:
        ValueError: The sums are not finite: the model gives NaN or infinite values.
    """
    windows = Windows(batches)
    num_windows = sum(windows.sizes)
    with (
        ExpertObserver(sparse_model.layers) as observer,
        ProgressBar("calibrate", num_windows, "window", progress) as bar,
    ):

        def observe(batch: Batch) -> None:
            inputs = {name: value for name, value in batch.items() if name != "labels"}
            tokens, mask = inputs["input_ids"], inputs.get("attention_mask")
            with observer.batch(tokens, mask), same_draws(sparse_model.model):
                final_hidden_states(sparse_model.model, inputs)
            bar.advance(len(inputs["input_ids"]))

        def part(done: int) -> Part:
            tensors, values = observer.statistics().to_tensors()
            return tensors, values | {"sizes": windows.sizes, "done": done}

        def go_on(part: Part) -> int:
            tensors, values = part
            before, done = ExpertStatistics.from_tensors(tensors, values), int(values["done"])
            windows.cut_as(values["sizes"])
            observer.go_on_from(before)
            return done

        done = unfinished.found(go_on) or 0
        bar.skip(sum(windows.sizes[:done]))
        windows.for_each(observe, done, lambda done: unfinished.keep(lambda: part(done)))
        statistics = observer.statistics()
    _warn_of_unseen_blocks(sparse_model.layers, statistics)
    _check_finite(statistics)
    return statistics


def _check_finite(statistics: ExpertStatistics) -> None:
    for index, sums in statistics.layers.items():
        if not torch.isfinite(sums.weighted_norm_sum).all():
            raise ValueError(
                f"The experts of layer {index} give NaN or infinite values on the calibration data. Check the "
                "weights, or load the model in another dtype (bfloat16 or float32 in place of float16)."
            )


def _warn_of_unseen_blocks(layers: Sequence[MoELayer], statistics: ExpertStatistics) -> None:
    """ERNIE 4.5 VL has experts that only images reach; nothing is known of them from text."""
    for layer in layers:
        for block, routed in zip(layer.blocks, statistics.layers[layer.index].routed_tokens.chunk(len(layer.blocks))):
            if not routed.any():
                logger.warning(
                    "No token of the calibration data reached the experts %s of layer %d: which of them go is decided "
                    "by their number alone. Give data that use them (images, for experts of images).",
                    block.path,
                    layer.index,
                )
