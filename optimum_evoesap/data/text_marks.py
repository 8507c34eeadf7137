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
        self._number = 0
        self._message_of: list[int] = []
        marked = [self._marked(message, number) for number, message in enumerate(conversation)] if opening else []
        self.conversation = Conversation(marked, tools_of(conversation))

    def locate(self, marked: str) -> list[list[int]] | None:
        """The places of the marks of each message in the text without them.

        Args:
            marked: What the template makes of `conversation`, or of a part of it.

        Returns:
            For each message its places in their order; `None` where the marks have changed the text.
        """
        if not self._opening or self._pattern.sub("", marked) != self._text:
            return None
        return self.places(marked)

    def places(self, marked: str) -> list[list[int]]:
        """The places of the marks of each message in a text without them; of a mark that stands twice, the first."""
        places: list[list[int]] = [[] for _ in self.conversation]
        seen: set[int] = set()
        removed = 0
        for match in self._pattern.finditer(marked):
            number = int(match[1])
            if number not in seen and number < len(self._message_of):
                places[self._message_of[number]].append(match.start() - removed)
            seen.add(number)
            removed += len(match[0])
        return [sorted(each) for each in places]

    def without(self, marked: str) -> str:
        """A text without its marks."""
        return self._pattern.sub("", marked)

    def _marked(self, message: Message, number: int) -> Message:
        changed: dict[str, Any] = {}
        for key in ("content", *REASONING_KEYS):
            value = message.get(key)
            if isinstance(value, str):
                changed[key] = self._with_marks(value, number)
            elif isinstance(value, (list, tuple)):
                changed[key] = [self._marked_part(part, number) for part in value]
        return {**message, **changed}

    def _marked_part(self, part: Any, number: int) -> Any:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            return {**part, "text": self._with_marks(part["text"], number)}
        return part

    def _with_marks(self, text: str, number: int) -> str:
        """Put marks inside the white space around a text, which templates may cut off."""
        pieces, last = [], 0
        for place in _places(text):
            pieces += [text[last:place], self._opening, str(self._number), self._closing]
            self._number += 1
            self._message_of.append(number)
            last = place
        return "".join([*pieces, text[last:]])


def _places(text: str) -> Iterator[int]:
    stripped = text.strip()
    if not stripped:
        return
    first = text.index(stripped)
    last = first + len(stripped)
    yield from sorted({first, last, *(match.end() for match in _TAG.finditer(text) if first < match.end() < last)})
