# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Columns beside the turns of a conversation: what the system says, earlier turns, and tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .messages import Conversation, Message, as_text, read_messages
from .options import DataError
from .tool_calls import as_tools


SYSTEM_COLUMNS = ("system", "system_prompt", "system_message")
HISTORY_COLUMNS = ("history",)
TOOLS_COLUMNS = ("tools", "functions")
BESIDE_COLUMNS = (*SYSTEM_COLUMNS, *HISTORY_COLUMNS, *TOOLS_COLUMNS)


def with_beside(row: Mapping[str, Any], messages: list[Message]) -> Conversation:
    """The conversation with what the other columns of its row hold.

    Args:
        row: The row, by column.
        messages: The turns; they are not changed.

    Raises:
        DataError: One of these columns holds something that is not understood.
    """
    earlier = [message for column in HISTORY_COLUMNS for message in _history(row.get(column), column)]
    turns = [*earlier, *messages]
    if earlier and messages and messages[0]["role"] in ("system", "developer"):
        turns = [messages[0], *earlier, *messages[1:]]
    for column in SYSTEM_COLUMNS:
        text = as_text(row.get(column), f"column {column!r}")
        if text.strip():
            turns = _with_system(turns, text)
    tools: list[dict[str, Any]] = []
    for column in TOOLS_COLUMNS:
        tools += (tool for tool in as_tools(row.get(column), f"column {column!r}") if tool not in tools)
    return Conversation(turns, tools)


def _with_system(messages: list[Message], text: str) -> list[Message]:
    """Put a text in front; where a message of the system stands there that says it not yet, the two become one."""
    if not messages or messages[0]["role"] not in ("system", "developer"):
        return [{"role": "system", "content": text}, *messages]
    first = messages[0]
    content = first.get("content") or ""
    if isinstance(content, list):
        content = [{"type": "text", "text": text}, *content]
    elif text.strip() not in content:
        content = f"{text}\n\n{content}" if content.strip() else text
    return [{**first, "content": content}, *messages[1:]]


def _history(value: Any, column: str) -> list[Message]:
    """Earlier turns: messages, or pairs of a question and its answer; also in JSON."""
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError as error:
            raise DataError(f"column {column!r} holds text where earlier turns were expected: {error}") from error
    if not value or (isinstance(value, str) and not value.strip()):
        return []
    if not isinstance(value, (list, tuple)):
        raise DataError(f"column {column!r} holds {type(value).__name__} where earlier turns were expected")
    messages = []
    for number, turn in enumerate(value, 1):
        if not isinstance(turn, (list, tuple)):
            messages += read_messages([turn], column)
            continue
        if len(turn) > 2:
            raise DataError(f"column {column!r}, turn {number} has {len(turn)} texts: give a question and its answer")
        for role, text in zip(("user", "assistant"), turn):
            text = as_text(text, f"column {column!r}, turn {number}")
            messages += [{"role": role, "content": text}] if text.strip() else []
    return messages
