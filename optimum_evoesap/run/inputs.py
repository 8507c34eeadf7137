# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`ModelInputs`]: the calibration and search data of a run, as batches that its model takes."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from ..configuration import EvoESAPConfig
from ..data import TOKEN_TENSORS, DataError, TokenizedData, prepare_data
from ..models.batching import batch_size_for
from ..models.context import context_length
from ..models.output_head import find_output_head
from ..models.processors import Processor
from .text_data import data_options


logger = logging.getLogger(__name__)

# Inputs that are never passed on by way of `**kwargs`: tokenizers make them for models that have no use for them.
_ONLY_WHERE_NAMED = {*TOKEN_TENSORS, "token_type_ids"}
# What a model gets wrong that does not take them, and what helps.
_NEEDED = {
    "position_ids": (
        "the documents packed into a window would see each other",
        "Give packing=False, or rows without `position_ids`.",
    ),
    "attention_mask": (
        "padding would count as tokens",
        "Give rows without padding, and batch_size=1 where they are of different lengths.",
    ),
}
# Where configs keep the tokens that stand for an image, a video or sound.
_PLACEHOLDER_ATTRIBUTES = [f"{kind}_token_{key}" for kind in ("image", "video", "audio") for key in ("id", "index")]


class ModelInputs:
    """Prepares each kind of data once and batches it for the model.

    Args:
        model: The model that will read the data.
        config: Names the data and says how they become windows.
        tokenizer: Needed where the data are text; a processor where they hold images.
    """

    def __init__(self, model: PreTrainedModel, config: EvoESAPConfig, tokenizer: Processor | None):
        self._model = model
        self._config = config
        self._tokenizer = tokenizer
        self.prepared: dict[str, TokenizedData] = {}

    def get(self, kind: str, given: Any = None) -> TokenizedData:
        """The data of a `kind`: what is given now, else what was given before, else what the config names.

        Args:
            kind: `calibration` or `search`.
            given: Data in any form that [`~data.prepare_data`] takes.

        Raises:
            DataError: The data cannot be used with this model, are not those of the goal, or none are named; says why.
                It is a `ValueError`.
        """
        if given is None and kind in self.prepared:
            return self.prepared[kind]
        source = getattr(self._config, f"{kind}_dataset") if given is None else given
        if source is None:
            raise DataError(
                f"{kind} data: the configuration names none ({kind}_dataset=None), as where they were given in "
                f"memory; pass {kind}_data, or a configuration with {kind}_dataset."
            )
        vocab_size = self._model.get_input_embeddings().weight.shape[0]
        name, placeholders = f"{kind} data", self._placeholder_tokens()
        data = prepare_data(source, data_options(self._config, kind), self._tokenizer, vocab_size, name, placeholders)
        self._check_inputs(data, name)
        self._check_lengths(data, name)
        if kind == "search" and self._config.goal == "worst" and not data.mixture:
            raise DataError(
                f"{name}: goal='worst' needs data of several domains, and these are of one: give a mixture "
                "name:samples,name:samples, or goal='mean'."
            )
        self.prepared[kind] = data
        return data

    @property
    def rows_at_once(self) -> int:
        """Windows that fill a batch of the model."""
        return self._batch_size(self._model.get_input_embeddings().weight.device)

    def criterion_data(self, times: int = 1) -> TokenizedData:
        """The first of the calibration windows: those that a criterion is measured on for every expert.

        Args:
            times: How many times as many.
        """
        data = self.get("calibration")
        return data.split(max(0, len(data) - times * self._config.criterion_windows))[0]

    def holdout_split(self, data: TokenizedData) -> tuple[TokenizedData, TokenizedData]:
        """Search data and the held-out windows behind them, also where there are fewer windows than asked for."""
        share = self._config.holdout_fraction / (1 + self._config.holdout_fraction)
        return data.split(round(len(data) * share))

    def batches(self, data: TokenizedData) -> Iterator[dict[str, torch.Tensor]]:
        """Batches on the model's device, `labels` among them, with only the inputs that its forward takes.

        Tensors besides tokens, which only samples with images and the like have, go to every forward that passes
        inputs on to the parts of the model; their floating-point numbers get the model's dtype.
        """
        accepted = self._named_inputs() | {"labels"}
        parameters = inspect.signature(self._model.forward).parameters.values()
        passes_on = any(each.kind is each.VAR_KEYWORD for each in parameters)
        device, dtype = self._model.get_input_embeddings().weight.device, self._model.dtype
        for batch in data.batches(self._batch_size(device), device):
            yield {
                name: tensor.to(dtype) if tensor.is_floating_point() else tensor
                for name, tensor in batch.items()
                if name in accepted or (passes_on and name not in _ONLY_WHERE_NAMED)
            }

    def check_model(self, data: TokenizedData) -> None:
        """Run the model once on the first window.

        Raises:
            ValueError: Its logits are NaN or infinite, or come from its hidden states in no known way.
        """
        find_output_head(self._model, next(self.batches(TokenizedData(data.sequences[:1], data.description))))

    def check_scored(self) -> None:
        """Check that search and held-out windows both have something to score.

        Raises:
            ValueError: One of them has no scored token.
        """
        search, holdout = self.holdout_split(self.get("search"))
        for name, part in (("search", search), ("held-out", holdout)):
            if len(part) and not part.num_scored_tokens:
                raise ValueError(
                    f"The {len(part)} {name} windows hold no scored token (labels are -100 everywhere); give more or "
                    "longer windows, or scored_tokens='all'."
                )
        if len(holdout) == 1:
            logger.warning(
                "Only one window is held out: it gives no interval of the difference to the uniform allocation, and "
                "where guard=True the higher score on it decides. Ask for more search windows, or a larger "
                "holdout_fraction."
            )
        absent = sorted({*search.mixture} - {*holdout.domains}) if len(holdout) and holdout.domains else []
        if absent:
            logger.warning(
                "No held-out window is of %s, so the comparison with the uniform allocation says nothing of it: ask "
                "for more windows.",
                ", ".join(absent),
            )
        if self._config.holdout_fraction and not len(holdout):
            logger.warning(
                "%d search windows are too few to hold some out: the result is not compared with the uniform "
                "allocation on data that the search has not seen.",
                len(search),
            )

    def _named_inputs(self) -> set[str]:
        forwards = (self._model.forward, self._model.base_model.forward)
        return {name for forward in forwards for name in inspect.signature(forward).parameters}

    def _batch_size(self, device: torch.device) -> int:
        return batch_size_for(self._config.batch_size, self._config.sequence_length, device)

    def _placeholder_tokens(self) -> set[int]:
        tokens = (getattr(self._model.config, attribute, None) for attribute in _PLACEHOLDER_ATTRIBUTES)
        return {token for token in tokens if isinstance(token, int)}

    def _check_lengths(self, data: TokenizedData, name: str) -> None:
        """Raise where a window that was made elsewhere is longer than what the model reads."""
        most = context_length(self._model.config)
        longest = max(map(_last_position, data.sequences)) + 1
        if most is not None and longest > most:
            raise DataError(
                f"{name}: a window has {longest} positions, and {type(self._model).__name__} was made for {most} "
                "(max_position_embeddings): give shorter windows."
            )

    def _check_inputs(self, data: TokenizedData, name: str) -> None:
        """Raise where the model does not read what the data hold: images, or the bounds of documents and padding."""
        others = {key for sequence in data.sequences for key in sequence} - _ONLY_WHERE_NAMED
        parts = (module for module in self._model.modules() if isinstance(module, PreTrainedModel))
        if others and not any(others & inspect.signature(part.forward).parameters.keys() for part in parts):
            raise DataError(
                f"{name}: {type(self._model).__name__} reads none of {', '.join(sorted(others))}: load the multimodal "
                "model in place of its text model, or give data without them."
            )
        left_out = _NEEDED.keys() - self._named_inputs()
        device = self._model.get_input_embeddings().weight.device
        # Whether there is padding is seen in the batches alone.
        for batch in data.batches(self._batch_size(device)) if left_out else ():
            for key in left_out & batch.keys():
                if _says_something(key, batch[key]):
                    consequence, remedy = _NEEDED[key]
                    raise DataError(
                        f"{name}: the forward of {type(self._model).__name__} takes no `{key}`, so {consequence}. "
                        f"{remedy}"
                    )


def _last_position(window: Mapping[str, torch.Tensor]) -> int:
    """Packed documents begin at position 0 each."""
    positions = window.get("position_ids")
    return len(window["input_ids"]) - 1 if positions is None else int(positions.max())


def _says_something(key: str, tensor: torch.Tensor) -> bool:
    """Whether a model that does not get this tensor would do something else."""
    nothing = 1 if key == "attention_mask" else torch.arange(tensor.shape[-1])
    return bool((tensor != nothing).any())
