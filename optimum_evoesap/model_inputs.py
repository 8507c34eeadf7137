# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`ModelInputs`]: the calibration and search data of a run, as batches that its model takes."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .configuration import EvoESAPConfig
from .data import DataOptions, TokenizedData, prepare_data
from .fitness.output_head import find_output_head


logger = logging.getLogger(__name__)


class ModelInputs:
    """Prepares each kind of data once and batches it for the model.

    Args:
        model: The model that will read the data.
        config: Names the data and says how they become windows.
        tokenizer: Needed where the data are text.
    """

    def __init__(self, model: PreTrainedModel, config: EvoESAPConfig, tokenizer: PreTrainedTokenizerBase | None):
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
            ValueError: The data cannot be used with this model; says why.
        """
        if given is None and kind in self.prepared:
            return self.prepared[kind]
        source = getattr(self._config, f"{kind}_dataset") if given is None else given
        vocab_size = self._model.get_input_embeddings().weight.shape[0]
        self.prepared[kind] = prepare_data(
            source, self._options(kind), self._tokenizer, vocab_size, name=f"{kind} data"
        )
        return self.prepared[kind]

    def _options(self, kind: str) -> DataOptions:
        config = self._config
        samples = {
            "calibration": config.calibration_samples,
            "search": config.search_samples + round(config.search_samples * config.holdout_fraction),
        }
        return DataOptions(
            num_samples=samples[kind],
            sequence_length=config.sequence_length,
            seed=config.seed,
            packing=config.packing,
            # The criterion looks at every token; only the fitness scores some.
            scored_tokens=config.scored_tokens if kind == "search" else "all",
            columns=config.columns,
            split=config.data_split,
            config_name=config.data_config,
            revision=config.data_revision,
        )

    def holdout_split(self, data: TokenizedData) -> tuple[TokenizedData, TokenizedData]:
        """Search data and the held-out windows behind them, also where there are fewer windows than asked for."""
        share = self._config.holdout_fraction / (1 + self._config.holdout_fraction)
        return data.split(round(len(data) * share))

    def batches(self, data: TokenizedData) -> Iterator[dict[str, torch.Tensor]]:
        """Batches on the model's device, `labels` among them, with only the inputs that its forward takes."""
        accepted = {*inspect.signature(self._model.base_model.forward).parameters, "labels"}
        device = self._model.get_input_embeddings().weight.device
        for batch in data.batches(self._config.batch_size, device):
            yield {name: value for name, value in batch.items() if name in accepted}

    def check_model(self, data: TokenizedData) -> None:
        """Run the model once on the first window.

        Raises:
            ValueError: Its logits are NaN or infinite, or come from its hidden states in no known way.
        """
        first = next(self.batches(TokenizedData(data.sequences[:1], data.description)))
        find_output_head(self._model, first["input_ids"])

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
        if self._config.holdout_fraction and not len(holdout):
            logger.warning(
                "%d search windows are too few to hold some out: the result is not compared with the uniform "
                "allocation on data that the search has not seen.",
                len(search),
            )
