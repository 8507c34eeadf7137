# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Calls of tools and descriptions of tools, in the forms of data sets and in those that chat templates read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .options import DataError


# Roles of a message whose text is a call, or a list of calls, in JSON.
ROLES_OF_CALLS = ("function_call", "tool_call", "function-call", "tool-call")


def as_tool_calls(message: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
    """The calls of a message: those under `tool_calls`, and the older `function_call`.

    Args:
        message: The message.
        place: Where it stands, for errors.

    Raises:
        DataError: They are no calls.
    """
    calls: list[dict[str, Any]] = []
    for key in ("tool_calls", "function_call"):
        value = message.get(key)
        if isinstance(value, str):
            value = _from_text(value)
        if not value:
            continue
        found = _calls(value)
        if found is None:
            raise DataError(
                f"{place}, {key!r} holds {type(value).__name__} where calls were expected: a call has a name and "
                "`arguments`, itself or under `function`"
            )
        calls += found
    return calls


def calls_in_text(text: str) -> list[dict[str, Any]]:
    """The calls that a text is, in JSON; none where it is something else.

    Args:
        text: The content of a message.
    """
    return _calls(_parsed(text)) or []


def as_tools(value: Any, place: str) -> list[dict[str, Any]]:
    """Descriptions of tools as transformers takes them, from a list of them, or one, or JSON text.

    Args:
        value: What a column holds.
        place: Its name, for errors.

    Raises:
        DataError: They are no descriptions of tools.
    """
    if isinstance(value, str):
        value = _from_text(value)
    if isinstance(value, Mapping):
        value = [value]
    if not value:
        return []
    if not isinstance(value, (list, tuple)):
        raise DataError(f"{place} holds {type(value).__name__} where a list of tools, or one in JSON, was expected")
    return [_tool(_parsed(tool) if isinstance(tool, str) else tool, place) for tool in value if tool is not None]


def with_arguments(messages: list[dict[str, Any]], as_text: bool) -> list[dict[str, Any]]:
    """The same messages with the arguments of their calls as JSON text, or as what this text holds.

    Args:
        messages: The messages; they are not changed.
        as_text: Which of the two a chat template wants.
    """
    return [
        {**message, "tool_calls": [_with_arguments(call, as_text) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in messages
    ]


def in_words(messages: list[dict[str, Any]], tools: list[dict[str, Any]], calls: bool = True) -> list[dict[str, Any]]:
    """The same messages with calls and tools as JSON in their text, for templates that have no place for them.

    Args:
        messages: The messages; they are not changed.
        tools: What the first message of the system says in JSON, a line each.
        calls: Whether the calls go into the text.
    """
    written = [_call_in_words(message) if calls else message for message in messages]
    if tools:
        if not written or written[0]["role"] not in ("system", "developer"):
            written.insert(0, {"role": "system", "content": ""})
        written[0] = {**written[0], "content": _joined(written[0]["content"], tools)}
    return written


def _call_in_words(message: dict[str, Any]) -> dict[str, Any]:
    calls = [_with_arguments(call, as_text=False)["function"] for call in message.get("tool_calls") or ()]
    if not calls:
        return message
    content = _joined(message.get("content"), calls)
    return {key: value for key, value in message.items() if key != "tool_calls"} | {"content": content}


def _joined(content: Any, values: list[Any]) -> Any:
    lines = [json.dumps(value, ensure_ascii=False) for value in values]
    if isinstance(content, list):
        return [*content, {"type": "text", "text": "\n".join(lines)}]
    return "\n".join([content, *lines] if content else lines)


def _with_arguments(call: dict[str, Any], as_text: bool) -> dict[str, Any]:
    arguments = call["function"]["arguments"]
    if as_text and not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    elif not as_text and isinstance(arguments, str):
        parsed = _parsed(arguments)
        arguments = parsed if isinstance(parsed, Mapping) else arguments
    return {**call, "function": {**call["function"], "arguments": arguments}}


def _calls(value: Any) -> list[dict[str, Any]] | None:
    """Calls in the form that templates read; `None` where the value is no call."""
    values = [value] if isinstance(value, Mapping) else value
    if not isinstance(values, (list, tuple)) or not values:
        return None
    calls = [_call(each) for each in values if each is not None]
    return None if any(call is None for call in calls) else [call for call in calls if call is not None]


def _call(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, Mapping):
        return None
    function = value.get("function", value)
    if isinstance(function, str):
        function = {"name": function, **{key: each for key, each in value.items() if key == "arguments"}}
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return None
    arguments = function.get("arguments", function.get("parameters"))
    # None and empty text stand for no arguments.
    function = {key: each for key, each in function.items() if key not in ("parameters", "type", "id")}
    function["arguments"] = {} if arguments in (None, "") else arguments
    about = {key: each for key, each in value.items() if key in ("id", "type", "index") and each is not None}
    return {"type": "function", **about, "function": function}


def _tool(tool: Any, place: str) -> dict[str, Any]:
    if not isinstance(tool, Mapping):
        raise DataError(f"{place} holds {type(tool).__name__} where the description of a tool was expected")
    if isinstance(tool.get("name"), str) and "function" not in tool:
        tool = {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}
    function = tool.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise DataError(f"{place} holds the description of a tool without a name")
    parameters = function.get("parameters")
    if isinstance(parameters, str):
        tool = {**tool, "function": {**function, "parameters": _parsed(parameters) or {}}}
    return dict(tool)


def _from_text(text: str) -> Any:
    """What a text says in JSON; blank and `null` say that there is nothing, and other text must not be lost."""
    if text.strip() in ("", "null", "None"):
        return None
    parsed = _parsed(text)
    return text if parsed is None else parsed


def _parsed(text: str) -> Any:
    """What a JSON text holds; `None` where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
