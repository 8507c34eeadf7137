# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Conversations with images, video or sound, which only a processor can read."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from difflib import SequenceMatcher
from io import BytesIO
from typing import TYPE_CHECKING, Any

import torch

from .encoding import EncodedDocument, encode_document
from .layouts import Document
from .messages import Message
from .options import DataError
from .processors import is_processor, text_tokenizer, wants_parts, with_parts
from .samples import NO_INPUTS, placeholders
from .tokenized import IGNORE_INDEX, TOKEN_TENSORS
from .windows import Window


if TYPE_CHECKING:
    from transformers import ProcessorMixin

# The keys of a part under which transformers looks for what the part shows.
SOURCE_KEYS = ("image", "video", "audio", "url", "path", "base64")


def has_media(document: Document) -> bool:
    """Whether a conversation holds anything else than text."""
    return not isinstance(document, str) and any(_is_media(part) for part in message_parts(document or []))


def message_parts(messages: list[Message]) -> Iterator[Any]:
    """All parts of the messages whose content is a list."""
    for message in messages:
        if isinstance(message.get("content"), (list, tuple)):
            yield from message["content"]


def encode_media_chat(
    messages: list[Message], processor: Any, scored_tokens: str, placeholder_tokens: Collection[int]
) -> Window:
    """Make the window of a conversation with images or other media: tokens, labels and the processor's tensors.

    The same tokens are scored as in a conversation of text, and never a token that stands for an image.

    Args:
        messages: The conversation.
        processor: The model's processor, with a chat template.
        scored_tokens: `"auto"`, `"all"` or `"answers"`, as in `DataOptions`.
        placeholder_tokens: Tokens that the model's config knows to stand for an image or the like.

    Raises:
        DataError: There is no processor, it cannot read the conversation, or the answers are not found.
        ImportError: A package that reads images is missing.
    """
    if not is_processor(processor):
        kinds = sorted({str(part["type"]) for part in message_parts(messages) if _is_media(part)})
        raise DataError(
            f"a conversation holds more than text (an image, say): parts of type {', '.join(kinds)}, which a "
            f"{type(processor).__name__} cannot read: pass the model's processor as `tokenizer`"
        )
    tokenizer = text_tokenizer(processor)
    if not tokenizer.chat_template:
        raise DataError(f"the {type(processor).__name__} has no chat template to render a conversation with images")
    messages = [_cleaned(message) for message in messages]
    if wants_parts(tokenizer):
        messages = with_parts(messages)
    plain = encode_document(messages, tokenizer, scored_tokens)
    inputs = _processed(messages, processor)
    input_ids = inputs.pop("input_ids").reshape(-1)
    labels = torch.tensor(_carry_labels(plain, input_ids.tolist(), scored_tokens != "all"))
    kept = {name: tensor for name, tensor in inputs.items() if name not in NO_INPUTS}
    hidden = placeholders(input_ids, kept, {*placeholder_tokens, *_placeholder_tokens(processor)})
    hidden[0] = True
    window = {"input_ids": input_ids, "labels": labels.masked_fill(hidden, IGNORE_INDEX)}
    return window | {name: tensor[0] if name in TOKEN_TENSORS else tensor for name, tensor in kept.items()}


def _carry_labels(plain: EncodedDocument, input_ids: list[int], only_answers: bool) -> list[int]:
    """Carry the labels of a text over to its tokens with every image in its place.

    The two differ only in what the processor puts in for an image, which is never scored.
    """
    labels = [IGNORE_INDEX] * len(input_ids)
    for start, place, length in SequenceMatcher(
        None, plain.input_ids, input_ids, autojunk=False
    ).get_matching_blocks():
        labels[place : place + length] = plain.labels[start : start + length]
    if only_answers and [label for label in labels if label != IGNORE_INDEX] != [
        label for label in plain.labels if label != IGNORE_INDEX
    ]:
        raise DataError(
            "the processor writes the answers of a conversation in other tokens than its tokenizer, so that they "
            'cannot be told apart: use `scored_tokens="all"`, or give dicts of tensors with `labels`'
        )
    return labels


def _processed(messages: list[Message], processor: ProcessorMixin) -> Window:
    """What the processor makes of a conversation, as tensors; those of tokens have the shape (1, tokens)."""
    try:
        # A template error cannot come here: the text alone has been rendered already.
        made = processor.apply_chat_template([messages], tokenize=True, return_dict=True, return_tensors="pt")
    except ImportError:
        raise
    except Exception as error:
        # Processors fail with anything that what reads an image does.
        raise DataError(f"the {type(processor).__name__} cannot read a conversation with images: {error}") from error
    ragged = [name for name, value in made.items() if isinstance(value, (list, tuple)) and _holds_tensor(value)]
    if ragged:
        raise DataError(f"the {type(processor).__name__} makes no one tensor of {', '.join(ragged)} of a conversation")
    return {name: value for name, value in made.items() if isinstance(value, torch.Tensor)}


def _placeholder_tokens(processor: ProcessorMixin) -> set[int]:
    tokens = (getattr(processor, f"{kind}_token_id", None) for kind in ("image", "video", "audio"))
    return {token for token in tokens if isinstance(token, int)}


def _cleaned(message: Message) -> Message:
    """A message whose media are as transformers' processors take them; a copy, since some write into it."""
    if not isinstance(message.get("content"), (list, tuple)):
        return message
    return {**message, "content": [_cleaned_part(part) for part in message["content"]]}


def _cleaned_part(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    # Columns read by `datasets` hold None for every key that only other parts have.
    part = {key: value for key, value in part.items() if value is not None}
    if part.get("type") == "image_url":
        url = part["image_url"]
        part = {"type": "image", "url": url["url"] if isinstance(url, dict) else url}
    if _is_media(part) and not any(key in part for key in SOURCE_KEYS):
        raise DataError(
            f"a part of type {part['type']!r} names nothing to read: give it as {{'type': 'image', 'image': image or "
            "path or url}}, or the images of the conversation in a column `images`"
        )
    return {key: _readable(value) if key in SOURCE_KEYS else value for key, value in part.items()}


def _readable(value: Any) -> Any:
    """A path as text, and the bytes of a file, as `datasets` stores images, as an image."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, dict) and value.keys() <= {"bytes", "path"}:
        if value.get("bytes") is None:
            return value["path"]
        from PIL import Image

        return Image.open(BytesIO(value["bytes"]))
    return value


def _is_media(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type", "text") != "text"


def _holds_tensor(value: Any) -> bool:
    return any(isinstance(item, torch.Tensor) for item in value)
