# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The characters of a rendered conversation that the assistant wrote."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from .messages import Conversation, Message, is_blank
from .options import DataError
from .rendering import Rendered, apply_template
from .text_marks import TextMarks
from .tokenizing import Span, common_length


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The mark of a template that knows what the assistant writes, as transformers looks for it.
GENERATION_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")

# What turns have in common around which a template writes the same.
Kind = tuple[str | int, ...]


def answer_turns(messages: list[Message]) -> list[int]:
    """The assistant's turns, from the first question on; a greeting before any question answers nothing."""
    roles = [message["role"] for message in messages]
    first = roles.index("user") if "user" in roles else len(roles)
    return [turn for turn in range(first, len(roles)) if roles[turn] == "assistant"]


def answer_spans(rendered: Rendered, tokenizer: PreTrainedTokenizerBase, until: int | None = None) -> list[Span]:
    """Find what the assistant wrote: from the end of the generation prompt to the end-of-sequence token.

    The template's own `{% generation %}` marks decide. Without them the conversation is rendered up to and after a
    turn, and what then stands between the texts of the messages shows where the turn begins and ends. Turns between
    the same characters are alike, so that a long conversation is rendered only a few times.

    Args:
        rendered: The conversation and its text.
        tokenizer: The tokenizer whose template made the text.
        until: Turns that begin behind this character are left out.

    Raises:
        DataError: The template writes turns in a way in which they are not found.
    """
    turns = answer_turns(rendered.messages)
    if turns and GENERATION_MARK.search(tokenizer.get_chat_template()):
        return _generation_spans(rendered, tokenizer)
    until = len(rendered.text) if until is None else until
    if rendered.marks is None:
        find: Callable[[int], Span] = partial(_span_by_prefixes, rendered, tokenizer)
    else:
        find = _TurnFinder(rendered, rendered.marks, tokenizer).span
    spans: list[Span] = []
    for turn in turns:
        start, end = find(turn)
        if start >= until:
            break
        spans.append((start, _trimmed(rendered.text, start, end, tokenizer.eos_token)))
    return spans


def _generation_spans(rendered: Rendered, tokenizer: PreTrainedTokenizerBase) -> list[Span]:
    """The spans of the template's own marks."""
    from transformers.utils.chat_template_utils import render_jinja_template

    tools = rendered.messages.tools or None
    text, spans = render_jinja_template(
        conversations=[rendered.messages],
        tools=tools,
        chat_template=tokenizer.get_chat_template(tools=tools),
        return_assistant_tokens_mask=True,
        **tokenizer.special_tokens_map,
    )
    if text[0] != rendered.text:
        raise DataError("the tokenizer's chat template renders a conversation in another way each time")
    return [(start, end) for start, end in spans[0]]


class _TurnFinder:
    """Finds turns by the marks in the texts around them."""

    def __init__(self, rendered: Rendered, marks: TextMarks, tokenizer: PreTrainedTokenizerBase):
        self._messages, self._text = rendered.messages, rendered.text
        self._tokenizer = tokenizer
        self._marks = marks
        self._places = marks.places(rendered.marked)
        self._following = self._next_places()
        self._rests: dict[tuple[Kind, bool, bool], str] = {}

    def span(self, turn: int) -> Span:
        """First character of a turn, and the one behind its last."""
        last = self._anchor(turn)
        kind = self._kind(turn)
        start = self._start(turn, kind)
        rest = self._rest(kind, turn + 1, after=True)
        if self._text.startswith(rest, last):
            end = last + len(rest)
        elif self._places[turn]:
            end = last + common_length(rest, self._text[last : last + len(rest)])
        else:
            rest = rest[start - last :]
            standing = self._text[start : start + len(rest)]
            end = start + (_standing_end(rest, self._text, start) or common_length(rest, standing))
        if end <= start and not is_blank(self._messages[turn]):
            raise _not_found(self._messages, turn)
        return start, max(start, end)

    def _start(self, turn: int, kind: Kind) -> int:
        """Where the text stops being what the generation prompt ends."""
        before = self._anchor(turn - 1)
        prompt = self._rest(kind, turn, add_generation_prompt=True)
        same = common_length(prompt, self._text[before : before + len(prompt)])
        context = self._rest(kind, turn) if same < len(prompt) else ""
        if same >= len(context):
            return before + same
        # The turn before is written in another way where it is the last one: only the generation prompt is the same.
        begin = prompt[len(context) :] if prompt.startswith(context) else ""
        place = self._text.rfind(begin, before, self._following[turn]) if begin else -1
        if place < 0:
            raise _not_found(self._messages, turn)
        return place + len(begin)

    def _kind(self, turn: int) -> Kind:
        """What a turn shares with those around which the template writes the same."""
        before, last = self._anchor(turn - 1), self._anchor(turn)
        between = self._text[before : self._following[turn]], self._text[last : self._following[turn + 1]]
        # What a template writes may depend on which turn is the first or the last one.
        is_early, is_late = turn < 2, turn > len(self._messages) - 3
        unmarked = turn - (self._anchor_message(turn - 1) or 0)
        return (*between, self._messages[turn - 1]["role"], unmarked, is_early, is_late)

    def _rest(self, kind: Kind, length: int, add_generation_prompt: bool = False, after: bool = False) -> str:
        """What a template writes behind the last mark of the first messages, of these alone.

        It is rendered once for all turns of a kind.
        """
        key = kind, after, add_generation_prompt
        if key not in self._rests:
            part = Conversation(self._marks.conversation[:length], self._marks.conversation.tools)
            marked = apply_template(self._tokenizer, part, add_generation_prompt)
            places = self._marks.places(marked)
            anchor = self._anchor_message(length - 1)
            if anchor is not None and not places[anchor]:
                raise _not_found(self._messages, length - 1)
            self._rests[key] = self._marks.without(marked)[places[anchor][-1] if anchor is not None else 0 :]
        return self._rests[key]

    def _anchor_message(self, turn: int) -> int | None:
        """The last message at or before `turn` of which there is a mark."""
        return next((message for message in range(turn, -1, -1) if self._places[message]), None)

    def _anchor(self, turn: int) -> int:
        message = self._anchor_message(turn)
        return 0 if message is None else self._places[message][-1]

    def _next_places(self) -> list[int]:
        """Of each message, and of the end, the first mark at or behind it."""
        following = [len(self._text)]
        for places in reversed(self._places):
            following.append(min([following[-1], *places]))
        return following[::-1]


def _span_by_prefixes(rendered: Rendered, tokenizer: PreTrainedTokenizerBase, turn: int) -> Span:
    """Find a turn by the conversation up to it and after it alone, for templates in which marks change something.

    It starts where the conversation up to the turn, with the generation prompt, stops being equal to the whole. It is
    the longest end of the turn's own rendering that stands there: some templates write a turn differently (without
    its reasoning, say) once other turns follow.
    """
    messages, whole = rendered.messages, rendered.text
    parts = [Conversation(messages[:length], messages.tools) for length in (turn, turn + 1)]
    prompt = apply_template(tokenizer, parts[0], add_generation_prompt=True)
    start = common_length(prompt, whole)
    after = apply_template(tokenizer, parts[1])[start:]
    length = _standing_end(after, whole, start) or common_length(after, whole[start : start + len(after)])
    if not (whole.startswith(apply_template(tokenizer, parts[0])) and (length or is_blank(messages[turn]))):
        raise _not_found(messages, turn)
    return start, start + length


def _standing_end(rest: str, text: str, start: int) -> int:
    """The length of the longest end of `rest` that stands in `text` at `start`."""
    if text.startswith(rest, start):
        return len(rest)
    for key in (text[start : start + 32], text[start : start + 1]):
        place = rest.find(key) if len(key) > 1 else rest.find(key, max(0, len(rest) - 32))
        while key and place >= 0:
            if text.startswith(rest[place:], start):
                return len(rest) - place
            place = rest.find(key, place + 1)
    return 0


def _trimmed(text: str, start: int, end: int, eos_token: str | None) -> int:
    """The end of an answer: its end-of-sequence token, where it has one, since that is where generation stops."""
    ending = text[start:end].rstrip()
    return start + len(ending) if eos_token and ending.endswith(eos_token) else end


def _not_found(messages: list[Message], turn: int) -> DataError:
    return DataError(
        f"the tokenizer's chat template renders turn {turn + 1} of a conversation of {len(messages)} differently "
        'once the others follow, so its tokens cannot be told apart: use `scored_tokens="all"`, a template with '
        "{% generation %} marks, or conversations of one question and one answer"
    )
