# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The text side of a processor: its tokenizer, with the chat template that the processor has."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from .messages import Message


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, ProcessorMixin

_PROBE = "what is asked here"


def is_processor(tokenizer: Any) -> bool:
    """Whether this is a processor, which holds a tokenizer beside what reads images or sound."""
    return getattr(tokenizer, "tokenizer", None) is not None


def text_tokenizer(tokenizer: PreTrainedTokenizerBase | ProcessorMixin) -> PreTrainedTokenizerBase:
    """The tokenizer of a processor, with the processor's chat template; a tokenizer as it is."""
    if not is_processor(tokenizer):
        return tokenizer
    template = getattr(tokenizer, "chat_template", None)
    if not template or template == tokenizer.tokenizer.chat_template:
        return tokenizer.tokenizer
    # A copy: the user's own tokenizer keeps its template.
    text = copy.copy(tokenizer.tokenizer)
    text.chat_template = template
    return text


def wants_parts(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template reads the content of a message as a list of parts only.

    Some templates of multimodal models do, and silently leave out a content that is a plain string.
    """
    if not getattr(tokenizer, "chat_template", None):
        return False
    as_text: list[Message] = [{"role": "user", "content": _PROBE}]
    if _PROBE in _rendered(tokenizer, as_text):
        return False
    rendered = _rendered(tokenizer, with_parts(as_text))
    # A template for strings prints a list as Python writes it.
    return _PROBE in rendered and "'type'" not in rendered


def with_parts(messages: list[Message]) -> list[Message]:
    """The same messages with each content as a list of parts."""
    return [
        {**message, "content": [{"type": "text", "text": message["content"]}]}
        if isinstance(message.get("content"), str)
        else message
        for message in messages
    ]


def as_texts(messages: list[Message]) -> list[Message]:
    """The same messages with each content that is a list of texts as one text, a line a part.

    Templates of language models read nothing else. Where one part is an image or the like, the messages stay.
    """
    lists = [message["content"] for message in messages if isinstance(message.get("content"), (list, tuple))]
    if any(not isinstance(part, dict) or part.get("type", "text") != "text" for parts in lists for part in parts):
        return messages
    return [
        {**message, "content": "\n".join(part.get("text") or "" for part in message["content"])}
        if isinstance(message.get("content"), (list, tuple))
        else message
        for message in messages
    ]


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> str:
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(messages, tokenize=False)
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError):
        # The template takes no such content, or no question alone; rendering the real conversation will show which.
        return ""
