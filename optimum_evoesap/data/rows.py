# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From rows, which are all tokenized or all text, to windows."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import torch

from .encoding import EncodedDocument, encode_document
from .layouts import read_document
from .media import encode_media_chat, has_media
from .options import DataError, DataOptions
from .processors import text_tokenizer, wants_parts, with_parts
from .samples import further_tensors, sample_from_row
from .windows import Window, packed_windows, single_windows, tokenized_windows


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, ProcessorMixin


class RowReader:
    """Reads the windows of one stream of rows.

    Args:
        options: How the rows become windows.
        tokenizer: Needed where the rows hold text; a processor where they hold images.
        placeholder_tokens: Tokens that stand for an image or the like, never scored.

    Attributes:
        too_long: Tokens of each sample with images that was left out, since it is too long and cannot be cut.
        documents: A mark of each different document, or window of tokens, that was read.
    """

    def __init__(
        self,
        options: DataOptions,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None,
        placeholder_tokens: Collection[int],
    ):
        self._options = options
        self._tokenizer = tokenizer
        self._placeholder_tokens = placeholder_tokens
        self.too_long: list[int] = []
        self.documents: set[Hashable] = set()

    def windows(self, stream: Iterable[Any]) -> list[Window]:
        """Read as many windows as wanted, or all that there are.

        Raises:
            DataError: A row cannot be read, or rows hold text and there is no tokenizer.
        """
        rows: Iterator[Mapping[str, Any]] = (_as_row(item) for item in stream)
        first = next(rows, None)
        if first is None:
            return []
        rows = chain([first], rows)
        windows: Iterator[Window]
        if "input_ids" in first:
            windows = chain.from_iterable(map(self._tokenized, rows))
        elif self._tokenizer is None:
            raise DataError("text must be tokenized, but no tokenizer was given: pass the model's own `tokenizer`")
        else:
            cut = packed_windows if self._options.packing else single_windows
            windows = cut(self._documents(rows, self._tokenizer), self._options.sequence_length)
        return list(islice(windows, self._options.num_samples))

    def _tokenized(self, row: Mapping[str, Any]) -> Iterator[Window]:
        further = further_tensors(row)
        if not further or row.get("input_ids") is None:
            for window in tokenized_windows(row, self._options):
                self.documents.add(window["input_ids"].numpy().tobytes())
                yield window
        else:
            sample = sample_from_row(row, further, self._options, self._placeholder_tokens)
            if self._fits(sample):
                yield sample

    def _documents(
        self, rows: Iterable[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase | ProcessorMixin
    ) -> Iterator[EncodedDocument | Window]:
        """Encode the rows that are not blank."""
        text, scored_tokens = text_tokenizer(tokenizer), self._options.scored_tokens
        in_parts = text is not tokenizer and wants_parts(text)
        for row in rows:
            document = read_document(row, self._options.columns)
            if isinstance(document, list) and has_media(document):
                sample = encode_media_chat(document, tokenizer, scored_tokens, self._placeholder_tokens)
                if self._fits(sample):
                    yield sample
            elif document is not None:
                if in_parts and isinstance(document, list):
                    document = with_parts(document)
                encoded = encode_document(document, text, scored_tokens)
                self.documents.add(hash(tuple(encoded.input_ids)))
                yield encoded

    def _fits(self, sample: Window) -> bool:
        """Whether a sample is short enough; without some of its tokens the images would not fit the text."""
        length = len(sample["input_ids"])
        if length > self._options.sequence_length:
            self.too_long.append(length)
        else:
            self.documents.add(("sample", len(self.documents)))  # what is asked of two images may be the same
        return length <= self._options.sequence_length


def _as_row(item: Any) -> Mapping[str, Any]:
    """Bring an item of a list to a row: a text, a conversation, or token ids get the column that says so."""
    if isinstance(item, Mapping):
        return item
    if isinstance(item, str):
        return {"text": item}
    if isinstance(item, torch.Tensor):
        return {"input_ids": item}
    if isinstance(item, (list, tuple)):
        tokens = bool(item) and all(isinstance(token, int) for token in item)
        return {"input_ids" if tokens else "messages": item}
    raise DataError(f"{type(item).__name__} is not a kind of row: give texts, conversations, or dicts of columns")
