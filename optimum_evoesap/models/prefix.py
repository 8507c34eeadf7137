# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Start a forward pass from what the layers before some decoder layer gave: what does not change is not run again.

The model's own forward runs, with its embeddings, masks and positions; only its first decoder layers hand on, in place
of their own work, what they gave before. So nothing is known here of any architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from .batching import Batch
from .output_head import final_hidden_states
from .sparse_model import SparseModel


# What a decoder layer returns: a tensor, or tensors in tuples, lists and dicts.
Output = Any


class LayeredForward:
    """Runs a model, or only some of its decoder layers.

    Args:
        sparse_model: The model.

    Attributes:
        decoder_layers: All its decoder layers in order; empty where they do not stand in one list, each once, so that
            no pass can start at one of them.
    """

    def __init__(self, sparse_model: SparseModel):
        self._model = sparse_model.model
        self.decoder_layers = _decoder_layers(sparse_model)

    def hidden(self, inputs: Batch, layer: int = 0, given: Output = None) -> torch.Tensor:
        """What enters the output layer, shape (batch, tokens, hidden size).

        Args:
            inputs: Inputs of the model.
            layer: The first decoder layer to run.
            given: What the layer before it gave for these inputs.
        """
        with self._skipped(range(layer), lambda: copy_output(given)):
            return final_hidden_states(self._model, inputs)

    def output(self, inputs: Batch, stop: int, layer: int = 0, given: Output = None) -> Output:
        """What decoder layer `stop - 1` gives: only the layers before `stop` run.

        Args:
            inputs: Inputs of the model.
            stop: The first decoder layer that does not run; above `layer`.
            layer: The first decoder layer to run.
            given: What the layer before it gave for these inputs.
        """
        (output,) = self.outputs(inputs, stop, [nullcontext()], layer, given)
        return output

    def outputs(
        self,
        inputs: Batch,
        stop: int,
        contexts: Sequence[AbstractContextManager[Any]],
        layer: int = 0,
        given: Output = None,
    ) -> list[Output]:
        """What decoder layer `stop - 1` gives in each of several contexts; the layers before it run once.

        Args:
            inputs: Inputs of the model.
            stop: The first decoder layer that does not run; above `layer`.
            contexts: In each of them the layer runs once.
            layer: The first decoder layer to run.
            given: What the layer before it gave for these inputs.
        """
        last, outputs = self.decoder_layers[stop - 1], []
        own_forward = last.forward

        def forward(*args: Any, **kwargs: Any) -> Output:
            for context in contexts:
                with context:
                    outputs.append(copy_output(own_forward(*args, **kwargs)))
            return outputs[-1]

        with (
            self._skipped(range(layer), lambda: copy_output(given)),
            _replaced_forward(last, forward),
            self._skipped(range(stop, len(self.decoder_layers)), lambda: outputs[-1]),
        ):
            final_hidden_states(self._model, inputs)
        return outputs

    @contextmanager
    def _skipped(self, layers: Sequence[int], output: Callable[[], Output]) -> Iterator[None]:
        """Some decoder layers give what `output` makes, and do nothing."""
        with ExitStack() as undo:
            for layer in layers:
                # What the last of them gives is what counts; the others only must not fail.
                undo.enter_context(_replaced_forward(self.decoder_layers[layer], lambda *_, **__: output()))
            yield


def map_output(function: Callable[[torch.Tensor], torch.Tensor], output: Output) -> Output:
    """The output of a layer with every tensor changed.

    Args:
        function: Changes a tensor.
        output: What a layer returned.
    """
    if isinstance(output, torch.Tensor):
        return function(output)
    if isinstance(output, Mapping):
        return {name: map_output(function, value) for name, value in output.items()}
    if isinstance(output, (tuple, list)):
        return type(output)([map_output(function, value) for value in output])
    return output


def copy_output(output: Output) -> Output:
    """A copy, since a layer may write into what it is given."""
    return map_output(torch.clone, output)


def join_outputs(outputs: Sequence[Output]) -> Output:
    """Outputs of several batches as that of one batch with all their rows.

    Args:
        outputs: At least one, all of one form.
    """
    first = outputs[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(list(outputs))
    if isinstance(first, Mapping):
        return {name: join_outputs([each[name] for each in outputs]) for name in first}
    if isinstance(first, (tuple, list)):
        return type(first)([join_outputs(values) for values in zip(*outputs)])
    return first


def _decoder_layers(sparse_model: SparseModel) -> list[nn.Module]:
    if any(len(layer.modules) > 1 for layer in sparse_model.layers):
        return []
    sparse = [layer.modules[0] for layer in sparse_model.layers]
    for module in sparse_model.model.modules():
        if isinstance(module, nn.ModuleList) and any(each is sparse[0] for each in module):
            layers = list(module)
            stand_there = [layer.index < len(layers) for layer in sparse_model.layers]
            if all(stand_there) and all(layers[each.index] is each.modules[0] for each in sparse_model.layers):
                return layers if len(set(map(id, layers))) == len(layers) else []
    return []


@contextmanager
def _replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    # Where the model is spread over devices, a hook of accelerate has put a forward of its own there.
    own = vars(module).get("forward")
    vars(module)["forward"] = forward
    try:
        yield
    finally:
        del vars(module)["forward"]
        if own is not None:
            vars(module)["forward"] = own
