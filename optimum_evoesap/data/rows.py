# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From rows, which are all tokenized or all text, to windows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import torch

from .encoding import EncodedDocument, encode_document
from .layouts import columns_read, read_document
from .media import encode_media_chat, has_media
from .options import DataError, DataOptions
from .processors import text_tokenizer
from .rendering import holds_text, unread_keys
from .samples import further_tensors, sample_from_row
from .sources import NumberedRow
from .windows import Window, packed_windows, single_windows, tokenized_windows


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, ProcessorMixin

# Where that many rows cannot be used and none can, the rest is not read.
_HOPELESS = 1000


class RowReader:
    """Reads the windows of one stream of rows.

    Args:
        options: How the rows become windows.
        tokenizer: Needed where the rows hold text; a processor where they hold images.
        placeholder_tokens: Tokens that stand for an image or the like, never scored.
        label: What the rows are of, for errors.

    Attributes:
        too_long: Tokens of each sample with images that was left out, since it is too long and cannot be cut.
        documents: A mark of each different document, or window of tokens, that was read.
        unusable: What is wrong with each row that was left out.
        unread: Columns, and keys of messages, that hold text and are not read.
    """

    def __init__(
        self,
        options: DataOptions,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None,
        placeholder_tokens: Collection[int],
        label: str,
    ):
        self._options = options
        self._tokenizer = tokenizer
        self._placeholder_tokens = placeholder_tokens
        self._label = label
        self._taken = 0
        self.too_long: list[int] = []
        self.documents: set[Hashable] = set()
        self.unusable: list[str] = []
        self.unread: set[str] = set()

    def windows(self, stream: Iterable[Any]) -> list[Window]:
        """Read as many windows as wanted, or all that there are.

        Raises:
            DataError: A row cannot be read, or rows hold text and there is no tokenizer; names the row.
        """
        items = (
            item if isinstance(item, NumberedRow) else NumberedRow(item, place) for place, item in enumerate(stream, 1)
        )
        rows = self._each(items, lambda item: [_as_row(item)])
        first = next(rows, None)
        if first is None:
            return []
        rows = chain([first], rows)
        windows: Iterator[Window]
        if "input_ids" in first.row:
            windows = (window.row for window in self._each(rows, self._tokenized))
        elif self._tokenizer is None:
            raise DataError("text must be tokenized, but no tokenizer was given: pass the model's own `tokenizer`")
        else:
            cut = packed_windows if self._options.packing else single_windows
            documents = (document.row for document in self._each(rows, self._document))
            windows = cut(documents, self._options.sequence_length)
        return list(islice(windows, self._options.num_samples))

    def _each(self, rows: Iterable[NumberedRow], read: Callable[[Any], Iterable[Any]]) -> Iterator[NumberedRow]:
        """What is read of each row; an error names the row, or is kept where such rows are left out."""
        for row, number in rows:
            try:
                for item in _not_too_deep(read(row)):
                    yield NumberedRow(item, number)
            except DataError as error:
                error = DataError(f"row {number} of {self._label}: {error}")
                if not self._options.skip_unusable_rows:
                    raise error from error.__cause__
                self.unusable.append(str(error))
                if len(self.unusable) == _HOPELESS and not self.documents:
                    raise error from error.__cause__

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

    def _document(self, row: Mapping[str, Any]) -> Iterator[EncodedDocument | Window]:
        """Encode a row, unless it is blank."""
        tokenizer, scored_tokens = self._tokenizer, self._options.scored_tokens
        document = read_document(row, self._options.columns)
        if document is None:
            return
        text = text_tokenizer(tokenizer)
        self._note_unread(row, document, text)
        if isinstance(document, list) and has_media(document):
            sample = encode_media_chat(document, tokenizer, scored_tokens, self._placeholder_tokens)
            if self._fits(sample):
                yield sample
        else:
            encoded = encode_document(document, text, scored_tokens, self._tokens_wanted)
            self._taken += len(encoded.input_ids)
            self.documents.add(hash(tuple(encoded.input_ids)))
            yield encoded

    @property
    def _tokens_wanted(self) -> int:
        """Tokens of the next document that can have a place in the windows."""
        length = self._options.sequence_length
        return max(1, self._options.num_samples * length - self._taken) if self._options.packing else length

    def _note_unread(self, row: Mapping[str, Any], document: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        others = row.keys() - columns_read(row, self._options.columns)
        self.unread |= {name for name in others if holds_text(row[name])}
        if isinstance(document, list) and getattr(tokenizer, "chat_template", None):
            self.unread |= unread_keys(document, str(tokenizer.chat_template))

    def _fits(self, sample: Window) -> bool:
        """Whether a sample is short enough; without some of its tokens the images would not fit the text."""
        length = len(sample["input_ids"])
        if length > self._options.sequence_length:
            self.too_long.append(length)
        else:
            self.documents.add(("sample", len(self.documents)))  # what is asked of two images may be the same
        return length <= self._options.sequence_length


def _not_too_deep(items: Iterable[Any]) -> Iterator[Any]:
    """The same; lists inside lists without end, also in JSON text, are an error of the row."""
    try:
        yield from items
    except RecursionError as error:
        raise DataError("its values are nested too deeply to be text or messages") from error


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
