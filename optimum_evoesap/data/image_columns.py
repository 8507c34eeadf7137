# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Rows that hold the images of a conversation in a column of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .options import DataError


IMAGE_COLUMNS = ("images", "image")
# What stands for an image in the text of many data sets.
IMAGE_MARK = "<image>"
_SOURCE_KEYS = ("image", "url", "path", "base64")


def row_images(row: Mapping[str, Any]) -> list[Any]:
    """The images in the columns `images` (a list) and `image` (one) of a row."""
    images: list[Any] = []
    for column in IMAGE_COLUMNS:
        value = row.get(column)
        images += value if isinstance(value, (list, tuple)) else [value]
    return [image for image in images if image is not None]


def place_images(messages: list[dict[str, Any]], images: list[Any]) -> list[dict[str, Any]]:
    """Put the images of a row where its messages have places for them.

    Places are parts `{"type": "image"}` without an image; or else `<image>` in the text; or else the start of the
    first question.

    Args:
        messages: The conversation; it is not changed.
        images: Its images, in the order of the places.

    Raises:
        DataError: There are more places than images, or fewer.
    """
    if not images:
        return messages
    source = iter([{"type": "image", "image": image} for image in images])
    if _count(messages, _empty_parts):
        places, fill = _count(messages, _empty_parts), _fill_parts
    elif _count(messages, _marks):
        places, fill = _count(messages, _marks), _fill_marks
    else:
        first = next((index for index, message in enumerate(messages) if message["role"] == "user"), 0)
        content = messages[first].get("content") or ""
        text = [{"type": "text", "text": content}] if isinstance(content, str) else content
        return [*messages[:first], {**messages[first], "content": [*source, *text]}, *messages[first + 1 :]]
    if places != len(images):
        raise DataError(f"a conversation has {places} places for images, but its row holds {len(images)} images")
    return [{**message, "content": fill(message.get("content"), source)} for message in messages]


def _empty_parts(content: Any) -> int:
    return sum(map(_is_empty, content)) if isinstance(content, (list, tuple)) else 0


def _is_empty(part: Any) -> bool:
    is_image = isinstance(part, Mapping) and part.get("type") == "image"
    return is_image and all(part.get(key) is None for key in _SOURCE_KEYS)


def _fill_parts(content: Any, source: Iterator[dict[str, Any]]) -> Any:
    if not isinstance(content, (list, tuple)):
        return content
    return [next(source) if _is_empty(part) else part for part in content]


def _marks(content: Any) -> int:
    return content.count(IMAGE_MARK) if isinstance(content, str) else 0


def _fill_marks(content: Any, source: Iterator[dict[str, Any]]) -> Any:
    if not _marks(content):
        return content
    first, *others = content.split(IMAGE_MARK)
    parts = [{"type": "text", "text": first}]
    for text in others:
        parts += [next(source), {"type": "text", "text": text}]
    return [part for part in parts if part["type"] == "image" or part["text"]]


def _count(messages: list[dict[str, Any]], count: Any) -> int:
    return sum(count(message.get("content")) for message in messages)
