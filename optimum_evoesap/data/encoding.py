# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From a document to tokens with a mark on the scored ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .answers import answer_spans, answer_turns
from .messages import Message, tools_of
from .options import DataError
from .processors import as_texts
from .rendering import render
from .tokenized import IGNORE_INDEX
from .tokenizing import Span, mark_spans, tokenize
from .tool_calls import in_words


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class EncodedDocument(NamedTuple):
    """Tokens of one document.

    Attributes:
        input_ids: The tokens.
        labels: As many: the token where it is scored, -100 elsewhere.
    """

    input_ids: list[int]
    labels: list[int]


def encode_document(
    document: str | list[Message],
    tokenizer: PreTrainedTokenizerBase,
    scored_tokens: str,
    limit: int | None = None,
) -> EncodedDocument:
    """Tokenize a document and mark its scored tokens; the first token never is.

    Args:
        document: A plain text, or messages.
        tokenizer: The model's own tokenizer. A plain text gets the special tokens that it adds by itself.
        scored_tokens: `"auto"`, `"all"` or `"answers"`, as in `DataOptions`.
        limit: Tokens that are used of a long document, which is read no further; `None` for all.

    Raises:
        DataError: Answers are asked of a plain text, or cannot be found in the rendered conversation; or tokenizer or
            chat template fail.
    """
    if isinstance(document, str):
        if scored_tokens == "answers":
            raise DataError(
                'plain text has no answers: use `scored_tokens="all"`, or a data set with questions and answers'
            )
        input_ids = tokenize(tokenizer, document, True, limit, with_ends=False).input_ids[:limit]
        labels = list(input_ids)
    else:
        encode = _encode_chat if getattr(tokenizer, "chat_template", None) else _encode_without_template
        input_ids, scored = encode(document, tokenizer, scored_tokens, limit)
        input_ids = input_ids[:limit]
        labels = [token if mark else IGNORE_INDEX for token, mark in zip(input_ids, scored)]
    return EncodedDocument(input_ids, [IGNORE_INDEX, *labels[1:]] if labels else [])


def _encode_chat(
    messages: list[Message], tokenizer: PreTrainedTokenizerBase, scored_tokens: str, limit: int | None
) -> tuple[list[int], list[bool]]:
    """Tokenize a conversation with the chat template."""
    rendered = render(messages, tokenizer)
    tokens = tokenize(
        tokenizer, rendered.text, add_special_tokens=False, limit=limit, with_ends=scored_tokens != "all"
    )
    if scored_tokens == "all":
        return tokens.input_ids, [True] * len(tokens.input_ids)
    spans = answer_spans(rendered, tokenizer, until=len(tokens.text))
    return tokens.input_ids, mark_spans(tokenizer, tokens, spans, add_special_tokens=False)


def _encode_without_template(
    messages: list[Message], tokenizer: PreTrainedTokenizerBase, scored_tokens: str, limit: int | None
) -> tuple[list[int], list[bool]]:
    """Tokenize a conversation as plain text: a line a message, the answers ended by the end-of-sequence token."""
    messages = as_texts(in_words(messages, tools_of(messages)))
    text, spans = "", list[Span]()
    answers = answer_turns(messages)
    for turn, message in enumerate(messages):
        content = message.get("content") or ""
        if not isinstance(content, str):
            raise DataError(
                f"message {turn + 1} holds more than text, and the tokenizer has no chat template to render it"
            )
        start = len(text)
        text += content + (tokenizer.eos_token or "\n" if message["role"] == "assistant" else "\n")
        if turn in answers:
            spans.append((start, len(text)))
    tokens = tokenize(tokenizer, text, add_special_tokens=True, limit=limit, with_ends=scored_tokens != "all")
    if scored_tokens == "all":
        return tokens.input_ids, [True] * len(tokens.input_ids)
    return tokens.input_ids, mark_spans(tokenizer, tokens, spans, add_special_tokens=True)
