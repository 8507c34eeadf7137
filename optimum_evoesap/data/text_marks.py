# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Marks in the texts of a conversation, which show where a chat template has put them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .messages import REASONING_KEYS, Conversation, Message, tools_of


# A mark is a number between two characters of private use; another pair where a text has them already.
_PAIRS = [(chr(code), chr(code + 1)) for code in range(0xE000, 0xE010, 2)]
# Templates cut reasoning out of a text, and what they keep begins behind one of these.
_TAG = re.compile(r"</?think>\s*(?!\s|</think>)")


class TextMarks:
    """Puts marks at the ends of each text of a conversation, and finds them again.

    Where what a template makes of the marked conversation is, but for the marks, what it makes of the conversation,
    the marks have changed nothing, and stand where the texts are.

    Args:
        conversation: The conversation; it is not changed.
        text: What the template makes of it.
    """

    def __init__(self, conversation: Conversation, text: str):
        self._text = text
        opening, closing = next((pair for pair in _PAIRS if not any(each in text for each in pair)), ("", ""))
        self._opening, self._closing = opening, closing
        self._pattern = re.compile(f"{opening}([0-9]+){closing}")
        # Of each mark the message that it is in, or None for one in a tool; and what those are that must not be lost.
        self._message_of: list[int | None] = []
        self._needed: dict[int, str] = {}
        marked = [self._marked(message, number) for number, message in enumerate(conversation)] if opening else []
        self.conversation = Conversation(marked, [self._marked_tool(tool) for tool in tools_of(conversation)])

    def changed_nothing(self, marked: str) -> bool:
        """Whether the text without its marks is the one that the template makes of the conversation.

        Args:
            marked: What the template makes of `conversation`.
        """
        return bool(self._opening) and self._pattern.sub("", marked) == self._text

    def places(self, marked: str) -> list[list[int]]:
        """The places of the marks of each message in a text without them; of a mark that stands twice, the first."""
        places: list[list[int]] = [[] for _ in self.conversation]
        seen: set[int] = set()
        removed = 0
        for match in self._pattern.finditer(marked):
            number = int(match[1])
            message = self._message_of[number]
            if number not in seen and message is not None:
                places[message].append(match.start() - removed)
            seen.add(number)
            removed += len(match[0])
        return [sorted(each) for each in places]

    def missing(self, marked: str) -> str | None:
        """What the template leaves out first of all; `None` where it says everything."""
        seen = {int(match[1]) for match in self._pattern.finditer(marked)}
        return next((what for number, what in self._needed.items() if number not in seen), None)

    def without(self, marked: str) -> str:
        """A text without its marks."""
        return self._pattern.sub("", marked)

    def _marked(self, message: Message, number: int) -> Message:
        what = f"message {number + 1} ({message['role']})"
        changed: dict[str, Any] = {}
        for key in ("content", *REASONING_KEYS):
            value = message.get(key)
            needed = f"the text of {what}" if key == "content" else None
            if isinstance(value, str):
                changed[key] = self._with_marks(value, number, needed)
            elif isinstance(value, (list, tuple)):
                changed[key] = [self._marked_part(part, number, needed) for part in value]
        if message.get("tool_calls"):
            calls = message["tool_calls"]
            changed["tool_calls"] = [self._marked_function(call, number, f"a call in {what}") for call in calls]
        return {**message, **changed}

    def _marked_part(self, part: Any, number: int, needed: str | None) -> Any:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            return {**part, "text": self._with_marks(part["text"], number, needed)}
        return part

    def _marked_function(self, item: dict[str, Any], number: int | None, needed: str) -> dict[str, Any]:
        """A call, or a tool, with a mark behind the name of its function."""
        function = item["function"]
        return {**item, "function": {**function, "name": function["name"] + self._mark(number, needed)}}

    def _marked_tool(self, tool: dict[str, Any]) -> dict[str, Any]:
        return self._marked_function(tool, None, "the tools of the conversation") if self._opening else tool

    def _with_marks(self, text: str, number: int, needed: str | None) -> str:
        """Put marks inside the white space around a text, which templates may cut off."""
        places = list(_places(text))
        # Where reasoning is all that there is, nothing stays when that is cut.
        needed = None if text.rstrip().endswith("</think>") else needed
        pieces, last = [], 0
        for place in places:
            pieces += [text[last:place], self._mark(number, needed if place == places[-1] else None)]
            last = place
        return "".join([*pieces, text[last:]])

    def _mark(self, number: int | None, needed: str | None) -> str:
        self._message_of.append(number)
        if needed:
            self._needed[len(self._message_of) - 1] = needed
        return f"{self._opening}{len(self._message_of) - 1}{self._closing}"


def _places(text: str) -> Iterator[int]:
    stripped = text.strip()
    if not stripped:
        return
    first = text.index(stripped)
    last = first + len(stripped)
    yield from sorted({first, last, *(match.end() for match in _TAG.finditer(text) if first < match.end() < last)})
