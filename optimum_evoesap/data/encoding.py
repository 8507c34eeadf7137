# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From a document to tokens with a mark on the scored ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .layouts import Message
from .options import DataError
from .tokenized import IGNORE_INDEX


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The mark of a template that knows what the assistant writes, as transformers looks for it.
GENERATION_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")


class EncodedDocument(NamedTuple):
    """Tokens of one document.

    Attributes:
        input_ids: The tokens.
        labels: As many: the token where it is scored, -100 elsewhere.
    """

    input_ids: list[int]
    labels: list[int]


def encode_document(
    document: str | list[Message], tokenizer: PreTrainedTokenizerBase, scored_tokens: str
) -> EncodedDocument:
    """Tokenize a document and mark its scored tokens; the first token never is.

    Args:
        document: A plain text, or messages.
        tokenizer: The model's own tokenizer. A plain text gets the special tokens that it adds by itself.
        scored_tokens: `"auto"`, `"all"` or `"answers"`, as in `DataOptions`.

    Raises:
        DataError: Answers are asked of a plain text, or cannot be found in the rendered conversation.
    """
    if isinstance(document, str):
        if scored_tokens == "answers":
            raise DataError(
                'plain text has no answers: use `scored_tokens="all"`, or a data set with questions and answers'
            )
        input_ids = _tokenize(tokenizer, document, add_special_tokens=True)
        scored = [True] * len(input_ids)
    else:
        # Answers are looked for only where they are wanted: some templates hide them, and then that is an error.
        answers = _answer_turns(document) if scored_tokens != "all" else []
        encode = _encode_chat if getattr(tokenizer, "chat_template", None) else _encode_without_template
        input_ids, scored = encode(document, answers, tokenizer)
        if scored_tokens == "all":
            scored = [True] * len(input_ids)
    labels = [token if mark else IGNORE_INDEX for token, mark in zip(input_ids, scored)]
    return EncodedDocument(input_ids, [IGNORE_INDEX, *labels[1:]] if labels else [])


def _encode_chat(
    messages: list[Message], answers: list[int], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[int], list[bool]]:
    """Tokenize a conversation with the chat template.

    What the assistant wrote is found by the template's own `{% generation %}` marks, or without them by rendering
    the conversation up to and after each turn.
    """
    marked = GENERATION_MARK.search(tokenizer.get_chat_template())
    if answers and marked and tokenizer.is_fast:
        encoding = _apply_template(
            tokenizer, messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        return encoding["input_ids"], [bool(mark) for mark in encoding["assistant_masks"]]
    whole = _apply_template(tokenizer, messages, tokenize=False)
    spans = [_answer_span(messages, turn, whole, tokenizer) for turn in answers]
    return _mark_spans(whole, spans, lambda text: _tokenize(tokenizer, text, add_special_tokens=False))


def _encode_without_template(
    messages: list[Message], answers: list[int], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[int], list[bool]]:
    """Tokenize a conversation as plain text: a line a message, the answers ended by the end-of-sequence token."""
    text, spans = "", []
    for turn, message in enumerate(messages):
        content = message.get("content", "")
        if not isinstance(content, str):
            raise DataError(
                f"a message holds {type(content).__name__} where text was expected, and the tokenizer has no chat "
                "template to render it"
            )
        start = len(text)
        text += content + (tokenizer.eos_token or "\n" if message["role"] == "assistant" else "\n")
        if turn in answers:
            spans.append((start, len(text)))
    return _mark_spans(text, spans, lambda text: _tokenize(tokenizer, text, add_special_tokens=True))


def _answer_turns(messages: list[Message]) -> list[int]:
    """The assistant's turns, from the first question on; a greeting before any question answers nothing."""
    roles = [message["role"] for message in messages]
    first = roles.index("user") if "user" in roles else len(roles)
    return [turn for turn in range(first, len(roles)) if roles[turn] == "assistant"]


def _answer_span(
    messages: list[Message], turn: int, whole: str, tokenizer: PreTrainedTokenizerBase
) -> tuple[int, int]:
    """Find the characters of `whole` that the assistant wrote in one turn.

    They start where the conversation up to the turn, with the generation prompt, stops being equal to `whole`. They
    are the longest end of the turn's own rendering that stands there: some templates write a turn differently
    (without an empty reasoning block, say) once other turns follow. They end with the end-of-sequence token, where
    the turn has one, since that is where generation stops.

    Raises:
        DataError: The template rewrites what came before the turn, or the turn's text is not found.
    """
    context = _apply_template(tokenizer, messages[:turn], tokenize=False)
    prompt = _apply_template(tokenizer, messages[:turn], tokenize=False, add_generation_prompt=True)
    start = _common_length(prompt, whole)
    rendered = _apply_template(tokenizer, messages[: turn + 1], tokenize=False)[start:]
    ends = (rendered[skipped:] for skipped in range(len(rendered)))
    answer = next((end for end in ends if whole.startswith(end, start)), "")
    texts = _texts(messages[turn].get("content"))
    found = answer == rendered or (texts and all(text in answer for text in texts))
    if not (answer and found and whole.startswith(context)):
        raise DataError(
            f"the tokenizer's chat template renders turn {turn + 1} of a conversation of {len(messages)} differently "
            'once the others follow, so its tokens cannot be told apart: use `scored_tokens="all"`, a template with '
            "{% generation %} marks, or conversations of one question and one answer"
        )
    ending = answer.rstrip()
    if tokenizer.eos_token and ending.endswith(tokenizer.eos_token):
        answer = ending
    return start, start + len(answer)


def _texts(content: Any) -> list[str]:
    """The texts of a message, whose content may be a list of parts."""
    parts = content if isinstance(content, (list, tuple)) else [{"text": content}]
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return [text.strip() for text in texts if isinstance(text, str) and text.strip()]


def _mark_spans(
    text: str, spans: list[tuple[int, int]], tokenize: Callable[[str], list[int]]
) -> tuple[list[int], list[bool]]:
    """Tokenize `text` and mark the tokens of the spans of characters.

    The tokens before a character are the common start of the whole and of the text up to there. A token across the
    start of a span therefore belongs to it, and a token across its end does not.
    """
    input_ids = tokenize(text)
    scored = [False] * len(input_ids)
    for start, end in spans:
        first, last = (_common_length(tokenize(text[:character]), input_ids) for character in (start, end))
        scored[first:last] = [True] * (last - first)
    return input_ids, scored


def _common_length(first: Sequence[Any], second: Sequence[Any]) -> int:
    """The number of items that two sequences have in common at their start."""
    pairs = enumerate(zip(first, second))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))


def _tokenize(tokenizer: PreTrainedTokenizerBase, text: str, add_special_tokens: bool) -> list[int]:
    """Tokenize without the warning for texts longer than the model, which are cut afterwards."""
    return tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)["input_ids"]


def _apply_template(tokenizer: PreTrainedTokenizerBase, messages: list[Message], **arguments: Any) -> Any:
    """Apply the chat template, and say which conversation it refused."""
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(messages, **arguments)
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise DataError(f"the tokenizer's chat template refuses a conversation of {roles}: {error}") from error
