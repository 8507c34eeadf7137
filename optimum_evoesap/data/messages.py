# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From messages as data sets have them to those that chat templates read: `role`, `content`, `tool_calls`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .options import DataError
from .tool_calls import ROLES_OF_CALLS, as_tool_calls, calls_in_text


Message = dict[str, Any]

ROLES = ("system", "developer", "user", "assistant", "tool")
# What the roles are called elsewhere: in ShareGPT, in data sets of agents, in those of other families of models.
OTHER_ROLES = {
    "human": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "function": "tool",
    "function_response": "tool",
    "function_result": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "tool_result": "tool",
    "tool_output": "tool",
    "ipython": "tool",
    **dict.fromkeys(ROLES_OF_CALLS, "assistant"),
}
ROLE_KEYS = ("role", "from")
CONTENT_KEYS = ("content", "value", "text", "prompt", "message", "utterance", "body")
# What transformers passes on as what the model thought before it answered.
REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
_CALL_KEYS = ("tool_calls", "function_call")
# What only names something beside the content.
_NAME_KEYS = ("name", "id", "type", "tool_call_id", "recipient", "timestamp", "created_at", "model", "status")


class Conversation(list[Message]):
    """Messages in their order, with the tools that the assistant may call.

    Args:
        messages: The messages.
        tools: Their descriptions, as transformers takes them.
    """

    def __init__(self, messages: list[Message], tools: list[dict[str, Any]] | None = None):
        super().__init__(messages)
        self.tools = tools or []


def tools_of(messages: list[Message]) -> list[dict[str, Any]]:
    """The tools of a conversation; none of a plain list of messages."""
    return messages.tools if isinstance(messages, Conversation) else []


def read_messages(value: Any, column: str) -> list[Message]:
    """Read messages from a list, from JSON text, from one message, or from lists by key, as Arrow may have them.

    Args:
        value: What a column holds; None counts as no messages.
        column: Its name, for errors.

    Raises:
        DataError: It holds something else, or a message that is not understood; names column and message.
    """
    if isinstance(value, str):
        value = _from_json(value, column)
    if value is None:
        return []
    if isinstance(value, Mapping):
        value = _transposed(value)
    if not isinstance(value, (list, tuple)):
        raise DataError(f"column {column!r} holds {type(value).__name__} where a list of messages was expected")
    # None stands in a list where Arrow has no message.
    numbered = [(number, message) for number, message in enumerate(value, 1) if message is not None]
    return [_message(message, f"column {column!r}, message {number}") for number, message in numbered]


def is_blank(message: Message) -> bool:
    """Whether a message holds nothing but its role."""
    content = message.get("content")
    if content and not (isinstance(content, str) and not content.strip()):
        return False
    return not any(message.get(key) for key in ("tool_calls", *REASONING_KEYS))


def as_text(value: Any, place: str) -> str:
    """Bring text, a number or None (which is blank) to text.

    Args:
        value: What the data hold.
        place: Where, for errors.

    Raises:
        DataError: It is neither.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return str(value)
    # NaN is what tables have where nothing is.
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        return str(value)
    keys = f" with the keys {listed(value)}" if isinstance(value, Mapping) else ""
    raise DataError(f"{place} holds {type(value).__name__}{keys} where text was expected")


def listed(names: Any) -> str:
    """Write names for a message to the user."""
    return ", ".join(repr(name) for name in names) or "none"


def _from_json(text: str, column: str) -> Any:
    """Messages that a data set keeps as JSON text."""
    try:
        value = json.loads(text) if text.strip() else None
    except ValueError:
        value = text
    if isinstance(value, (str, int, float)):
        raise DataError(f"column {column!r} holds str where a list of messages was expected")
    return value


def _transposed(value: Mapping[str, Any]) -> Any:
    """The messages of one mapping: itself a message, or a list under each key."""
    if any(key in value and isinstance(value[key], (list, tuple)) for key in ROLE_KEYS):
        lengths = {len(each) for each in value.values() if isinstance(each, (list, tuple))}
        if len(lengths) == 1:
            keys = [key for key, each in value.items() if each is not None]
            return [dict(zip(keys, each)) for each in zip(*(value[key] for key in keys))]
    return [value]


def _message(message: Any, place: str) -> Message:
    """Bring one message to `role`, `content` and `tool_calls`; other keys stay for the template."""
    if not isinstance(message, Mapping):
        raise DataError(f"{place} holds {type(message).__name__} where a message was expected")
    # Columns read by `datasets` hold None for every key that only other messages have.
    message = {key: value for key, value in message.items() if value is not None}
    role, given = _role(message, place)
    key = _content_key(message, place)
    others = {key: value for key, value in message.items() if key not in (*ROLE_KEYS, *CONTENT_KEYS, *_CALL_KEYS)}
    calls = as_tool_calls(message, place)
    if key is None:
        is_empty = not calls and not any(name in others for name in REASONING_KEYS)
        # Beside calls there need be no content; but what looks like it under another name is not to be lost.
        unknown = [name for name in others if name not in (*REASONING_KEYS, *_NAME_KEYS)]
        if (is_empty and others) or any(_holds_text(others[name]) for name in unknown):
            raise DataError(
                f"{place} has the keys {listed(message)} and no content: a message has `role` and `content`"
            )
        if is_empty:
            key, message = "content", {"content": ""}
    content = None if key is None else _content(message[key], role, f"{place}, {key!r}")
    if given in ROLES_OF_CALLS and not calls and isinstance(content, str):
        # Where the text is no call in JSON, it stays what the assistant wrote.
        calls = calls_in_text(content)
        content = "" if calls else content
    return {"role": role, "content": content, **others, **({"tool_calls": calls} if calls else {})}


def _holds_text(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_text, value.values()))
    return any(map(_holds_text, value)) if isinstance(value, (list, tuple)) else isinstance(value, str) and value != ""


def _role(message: Message, place: str) -> tuple[str, str]:
    """The role as templates know it, and as the data set calls it."""
    given = {str(message[key]).strip().lower() for key in ROLE_KEYS if key in message}
    roles = {OTHER_ROLES.get(each, each) for each in given}
    if len(roles) == 1 and roles <= set(ROLES):
        return roles.pop(), given.pop()
    shown = message.get("role", message.get("from"))
    raise DataError(
        f"{place} has the keys {listed(message)} and the role {shown!r}; a message has `role` (one of "
        f"{', '.join([*ROLES, *OTHER_ROLES])}) and `content`"
    )


def _content_key(message: Message, place: str) -> str | None:
    """The key under which a message holds its content."""
    keys = [key for key in CONTENT_KEYS if key in message]
    filled = [key for key in keys if message[key] not in ("", [])]
    if len(filled) > 1 and any(message[key] != message[filled[0]] for key in filled):
        raise DataError(f"{place} has content under {listed(filled)}: only one of them can be its text")
    return next(iter(filled or keys), None)


def _content(content: Any, role: str, place: str) -> Any:
    """Text, or a list of parts. What a tool returns may be anything that JSON can hold."""
    if isinstance(content, (list, tuple)):
        parts = [part for part in content if part is not None]
        if role == "tool" and not all(isinstance(part, str) or _is_part(part) for part in parts):
            return json_text(content, place)
        return [_part(part, f"{place}, part {number}") for number, part in enumerate(parts, 1)]
    if isinstance(content, Mapping):
        if _is_part(content):
            return [_part(content, place)]
        if role == "tool":
            return json_text(content, place)
    if isinstance(content, bool):
        return json.dumps(content)
    return as_text(content, place)


def _is_part(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("type"), str) or _is_bare_text(part)


def _is_bare_text(part: Any) -> bool:
    """Whether this is text with no type beside it."""
    return isinstance(part, Mapping) and part.keys() == {"text"} and isinstance(part["text"], str)


def _part(part: Any, place: str) -> dict[str, Any]:
    """One part of a content, in the form that templates read."""
    if not isinstance(part, Mapping):
        return {"type": "text", "text": as_text(part, place)}
    part = {key: value for key, value in part.items() if value is not None}
    if not _is_part(part):
        raise DataError(f"{place} has the keys {listed(part)}; a part has `type`, such as 'text', and its content")
    kind = part.get("type", "text")
    if kind not in ("text", "input_text", "output_text"):
        return part
    key = next((key for key in ("text", "content", "value") if key in part), "text")
    rest = {name: value for name, value in part.items() if name not in ("type", key)}
    return {"type": "text", "text": as_text(part.get(key), f"{place}, {key!r}"), **rest}


def json_text(value: Any, place: str) -> str:
    """Write a value as JSON.

    Args:
        value: What the data hold.
        place: Where, for errors.

    Raises:
        DataError: JSON cannot hold it.
    """
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{place} holds what JSON cannot: {error}") from error
