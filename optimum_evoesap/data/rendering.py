# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From a conversation to its text, in which nothing that the conversation holds may be missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from .messages import REASONING_KEYS, Conversation, Message, tools_of
from .options import DataError
from .processors import as_texts, with_parts
from .text_marks import TextMarks
from .tool_calls import in_words, with_arguments


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_END_OF_REASONING = "</think>"
_WORDS = re.compile(r"\S\s+\S")


class Rendered(NamedTuple):
    """A conversation and its text.

    Attributes:
        messages: The conversation in the form that the template reads.
        text: What the template makes of it.
        marks: The marks that show where its texts stand; `None` where marks would change something.
        marked: The text with these marks.
    """

    messages: Conversation
    text: str
    marks: TextMarks | None
    marked: str


def render(messages: list[Message], tokenizer: PreTrainedTokenizerBase) -> Rendered:
    """Render a conversation in the first of the forms in which the template says all that it holds.

    Templates differ in whether they want the arguments of a call as a dict or as JSON text; those that know no calls
    or no tools get them as JSON in the text of a message.

    Args:
        messages: The conversation.
        tokenizer: A tokenizer with a chat template.

    Raises:
        DataError: The template refuses it, or leaves something out; says which message.
    """
    first: DataError | None = None
    for form in _forms(messages):
        try:
            text = apply_template(tokenizer, form)
            marks, marked = _marked(form, text, tokenizer)
            missing = next(_missing(form, text), None) or (marks and marks.missing(marked))
            if not missing:
                return Rendered(form, text, marks, marked)
            raise DataError(
                f"the tokenizer's chat template leaves out {missing}: give data, or a template, without that, or "
                "leave out such rows with `skip_unusable_rows`"
            )
        except DataError as error:
            first = first or error
    assert first is not None
    raise first


def apply_template(
    tokenizer: PreTrainedTokenizerBase, messages: list[Message], add_generation_prompt: bool = False
) -> str:
    """Apply the chat template.

    Args:
        tokenizer: A tokenizer with a chat template.
        messages: The conversation, with its tools where it is a `Conversation`.
        add_generation_prompt: Whether to begin a turn of the assistant at the end.

    Raises:
        DataError: The template refuses the conversation, or fails.
    """
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(
            messages,
            tools=tools_of(messages) or None,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
    except Exception as error:
        # Templates are programs: they may fail with anything.
        roles = ", ".join(message["role"] for message in messages[:8]) + ("..." if len(messages) > 8 else "")
        said = str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"
        raise DataError(f"the tokenizer's chat template refuses a conversation of {roles}: {said}") from error


def message_texts(message: Message) -> list[str]:
    """The texts in the content of a message, which may be a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, (list, tuple)) else []
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]


def _marked(form: Conversation, text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[TextMarks | None, str]:
    """Marks in a conversation and what the template makes of it, where they change nothing else."""
    marks = TextMarks(form, text)
    try:
        marked = apply_template(tokenizer, marks.conversation)
    except DataError:
        return None, ""  # a template that reads the texts, such as one that knows the names of all tools
    return (marks, marked) if marks.changed_nothing(marked) else (None, "")


def _forms(messages: list[Message]) -> Iterator[Conversation]:
    """The forms in which a template may want the conversation, the usual one first."""
    tools = tools_of(messages)
    texts = as_texts(messages)
    contents = [texts, with_parts(texts)] if texts is not messages or not _has_lists(messages) else [messages]
    has_calls = any(message.get("tool_calls") for message in messages)
    for content in contents:
        blank = [{**message, "content": message.get("content") or ""} for message in content]
        # Some templates write calls only where there is no content, and some cannot do without.
        for form in (blank, content) if has_calls else (blank,):
            for as_text in (False, True) if has_calls else (False,):
                yield Conversation(with_arguments(form, as_text), tools)
    for content in contents if tools or has_calls else ():
        blank = [{**message, "content": message.get("content") or ""} for message in content]
        for form in (blank, content) if tools and has_calls else ():
            for as_text in (False, True):
                yield Conversation(in_words(with_arguments(form, as_text), tools, calls=False))
        if has_calls:
            yield Conversation(in_words(blank, []), tools)
        yield Conversation(in_words(blank, tools))


def _has_lists(messages: list[Message]) -> bool:
    return any(isinstance(message.get("content"), (list, tuple)) for message in messages)


def _missing(messages: Conversation, text: str) -> Iterator[str]:
    """What a conversation holds and its text does not; earlier reasoning is left out on purpose by many templates."""
    place = 0
    writes_none = "None" in text and not any("None" in part for each in messages for part in message_texts(each))
    for number, message in enumerate(messages, 1):
        where = f"message {number} ({message['role']})"
        content = message.get("content")
        if isinstance(content, (list, tuple)) and content and str(content) in text:
            yield f"the text of {where}, of which it writes what Python would,"
        if content is None and writes_none:
            yield f"that {where} has no text: it writes None"
        for part in message_texts(message):
            found = text.find(part.strip(), place)
            place = max(found, place)
            if found < 0 and not _stands_in(part, text):
                yield f"the text of {where}"
        for call in message.get("tool_calls") or ():
            if not _is_written(call["function"], text):
                yield f"a call in {where}"
    for tool in messages.tools:
        if tool["function"]["name"] not in text:
            yield "the tools of the conversation"


def _is_written(function: dict[str, Any], text: str) -> bool:
    """Whether a text holds the name and the arguments of a call, and these not as Python writes them."""
    arguments = function["arguments"]
    if arguments and not isinstance(arguments, str) and str(arguments) in text:
        if json.dumps(arguments, ensure_ascii=False) not in text:
            return False
    return function["name"] in text and all(_stands_in(leaf, text) for leaf in _leaves(arguments))


def _stands_in(part: str, text: str) -> bool:
    """Whether a text says what a part of a message does: as it is, as JSON, without its reasoning, or line by line."""
    part = part.strip()
    forms = (part, json.dumps(part, ensure_ascii=False)[1:-1], json.dumps(part)[1:-1])
    if any(form in text for form in forms):
        return True
    _, reasoning, answer = part.rpartition(_END_OF_REASONING)
    if reasoning and answer.strip() != part:
        return _stands_in(answer, text)
    lines = [line.strip() for line in part.splitlines() if line.strip()]
    return len(lines) > 1 and all(line in text for line in lines)


def _leaves(value: Any) -> Iterator[str]:
    """All texts in the arguments of a call."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)


def unread_keys(messages: list[Message], template: str) -> set[str]:
    """Keys of messages that hold several words and are not named in a chat template.

    Args:
        messages: A conversation.
        template: The source of the template.
    """
    known = {"role", "content", "tool_calls", *REASONING_KEYS}
    return {
        key
        for message in messages
        for key, value in message.items()
        if key not in known and key not in template and holds_text(value)
    }


def holds_text(value: Any) -> bool:
    """Whether a value says something: several words, or a structure with them; a name or a number does not."""
    if isinstance(value, str):
        return bool(_WORDS.search(value))
    if isinstance(value, dict):
        return any(map(holds_text, value.values()))
    return isinstance(value, (list, tuple)) and any(map(holds_text, value))
