# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From text to tokens, no more of them than are needed, and to the tokens of a span of characters."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from .options import DataError


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]

# Tokens, and characters, that a cut text has beyond those that are wanted: what is next to the cut is not used.
_SPARE_TOKENS = 64
_SPARE_CHARACTERS = 1024


class Tokens(NamedTuple):
    """The tokens of a text, or those of its start.

    Attributes:
        input_ids: The tokens.
        ends: The character behind each token, never falling; `None` where the tokenizer does not tell.
        text: The text of these tokens.
    """

    input_ids: list[int]
    ends: list[int] | None
    text: str


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    add_special_tokens: bool,
    limit: int | None = None,
    with_ends: bool = True,
) -> Tokens:
    """Tokenize a text, or as much of it as gives its first `limit` tokens.

    A long text is cut before. How far from the cut tokens depend on it is no property that all tokenizers share, so it
    is cut at two places: where the wanted tokens are the same both times, they are those of the whole text.

    Args:
        tokenizer: The model's own tokenizer.
        text: The text.
        add_special_tokens: Whether the tokenizer adds those that it adds by itself.
        limit: Tokens that are used; `None` for all. There may come more.
        with_ends: Whether spans are to be marked, for which the ends of the tokens are needed.

    Raises:
        DataError: The tokenizer fails, or the text is none.
    """
    size = len(text) if limit is None else limit + _SPARE_CHARACTERS
    while 2 * size < len(text):
        shorter = _encode(tokenizer, text[:size], add_special_tokens, with_ends)
        found = len(shorter.input_ids)
        if limit is None or found < limit + _SPARE_TOKENS:
            per_token = (size + 1) / max(found, 1)
            size = max(size * 5 // 4, int(((limit or 0) + _SPARE_TOKENS) * per_token * 1.1)) + _SPARE_CHARACTERS
            continue
        longer = _encode(tokenizer, text[: size * 5 // 4 + _SPARE_CHARACTERS], add_special_tokens, with_ends)
        if shorter.input_ids[:limit] == longer.input_ids[:limit]:
            return longer
        size *= 2
    return _encode(tokenizer, text, add_special_tokens, with_ends)


def mark_spans(
    tokenizer: PreTrainedTokenizerBase, tokens: Tokens, spans: Sequence[Span], add_special_tokens: bool
) -> list[bool]:
    """Mark the tokens of spans of characters.

    A token across the start of a span belongs to it, and a token across its end does not.

    Args:
        tokenizer: What made the tokens.
        tokens: The tokens of a text.
        spans: First character and the one behind the last, of each span; they may go beyond the text of the tokens.
        add_special_tokens: As it was for the tokens.
    """
    marks = [False] * len(tokens.input_ids)
    spans = [(start, end) for start, end in spans if start < min(end, len(tokens.text))]
    borders = sorted({border for span in spans for border in span if border < len(tokens.text)})
    if tokens.ends is not None:
        places = {border: bisect_right(tokens.ends, border) for border in borders}
    else:
        places = _places(tokenizer, tokens, borders, add_special_tokens)
    for start, end in spans:
        first, last = places[start], places.get(end, len(marks))
        if tokens.ends is not None and end >= len(tokens.text):
            last = bisect_right(tokens.ends, end)
        marks[first:last] = [True] * (last - first)
    return marks


def common_length(first: Sequence[Any], second: Sequence[Any]) -> int:
    """The number of items that two sequences have in common at their start.

    Args:
        first: One of them.
        second: The other.
    """
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _places(
    tokenizer: PreTrainedTokenizerBase, tokens: Tokens, borders: list[int], add_special_tokens: bool
) -> dict[int, int]:
    """The number of tokens before each border, from the tokens themselves.

    Where the pieces between the borders have the tokens of the whole, these are counted. Otherwise the tokens before
    a border are what the whole has in common with the text up to there.
    """
    pieces = [tokens.text[start:end] for start, end in zip([0, *borders], [*borders, len(tokens.text)])]
    if not add_special_tokens:
        counted = [_encode(tokenizer, piece, False).input_ids if piece else [] for piece in pieces]
        if [token for piece in counted for token in piece] == tokens.input_ids:
            return dict(zip(borders, accumulate(map(len, counted))))
    return {
        border: common_length(
            _encode(tokenizer, tokens.text[:border], add_special_tokens).input_ids if border else [], tokens.input_ids
        )
        for border in borders
    }


def _encode(
    tokenizer: PreTrainedTokenizerBase, text: str, add_special_tokens: bool, with_ends: bool = False
) -> Tokens:
    """Tokenize, without the warning for texts longer than the model, which are cut afterwards."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"character {error.start + 1} of a text is {text[error.start]!r}, half of a pair of surrogates and no "
            "character by itself: repair the text, or leave out such rows with `skip_unusable_rows`"
        ) from error
    with_ends = with_ends and tokenizer.is_fast
    arguments = {"return_offsets_mapping": True} if with_ends else {}
    try:
        encoding = tokenizer(text, add_special_tokens=add_special_tokens, verbose=False, **arguments)
        input_ids = list(encoding["input_ids"])
    except BaseException as error:
        # Broken tokenizers raise bare exceptions, and panics of Rust, which are no `Exception`.
        if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
            raise
        raise DataError(
            f"the {type(tokenizer).__name__} cannot tokenize a text: {type(error).__name__}: {error}"
        ) from error
    if not all(isinstance(token, int) for token in input_ids):
        raise DataError(f"the {type(tokenizer).__name__} makes tokens of a text that are no integers: is it whole?")
    ends = list(accumulate((end for _, end in encoding["offset_mapping"]), max)) if with_ends else None
    # Some tokenizers count wrongly; then nothing can be found by it.
    if ends is not None and not len(text.rstrip()) <= (ends[-1] if ends else 0) <= len(text):
        ends = None
    return Tokens(input_ids, ends, text)
