# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What is scored of a document: all of a text, the answers of a conversation."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.data import DataError
from optimum_evoesap.data.encoding import EncodedDocument, encode_document
from tests.data.texts import (
    CHAT,
    FORGETTING,
    MARKED,
    PLAIN,
    REASONING,
    REMINDING,
    REWRITING,
    ROLE_CHECKING,
    SENTENCES,
    decoded,
    make_tokenizer,
    scored_text,
    single,
)


@pytest.mark.parametrize("template", [PLAIN, MARKED, REASONING])
def test_exactly_the_answers_are_scored(template):
    tokenizer = make_tokenizer(template)
    data = single([CHAT, CHAT[:2]], tokenizer, num_samples=2)
    last = "<think></think>\n" if template == REASONING else ""
    assert scored_text(tokenizer, data) == [
        f"  It is four.<|end|>{last}Five, naïvely.<|end|>",
        f"{last}  It is four.<|end|>",
    ]
    assert decoded(tokenizer, data.sequences[0]) == tokenizer.apply_chat_template(CHAT, tokenize=False)


def test_both_ways_to_find_the_answers_agree():
    marked, plain = make_tokenizer(MARKED), make_tokenizer(PLAIN)
    chats = [CHAT, CHAT[:2], [{"role": "system", "content": "Be brief."}, *CHAT], [*CHAT, *CHAT]]
    assert single(chats, marked).fingerprint == single(chats, plain).fingerprint
    assert marked.apply_chat_template(CHAT, tokenize=False) == plain.apply_chat_template(CHAT, tokenize=False)


def test_the_marks_of_a_template_decide():
    content_only = MARKED.replace(
        "m.content + eos_token }}{% endgeneration %}", "m.content }}{% endgeneration %}<|end|>"
    )
    tokenizer = make_tokenizer(content_only)
    assert scored_text(tokenizer, single([CHAT], tokenizer, num_samples=1)) == ["  It is four.Five, naïvely."]


def test_a_token_across_the_start_of_an_answer_is_scored(tokenizer):
    glued = make_tokenizer("{% for m in messages %}{{ m.content }}{% endfor %}")
    chat = [{"role": "user", "content": "the la"}, {"role": "assistant", "content": "yer to the layer"}]
    assert glued.tokenize("the layer")[-1] == "Ġlayer", "the test needs a token across the boundary"
    (text,) = scored_text(glued, single([chat], glued, num_samples=1))
    assert text == " layer to the layer"


def test_a_greeting_before_any_question_is_not_an_answer(chat_tokenizer):
    data = single([[{"role": "assistant", "content": "Hello!"}, *CHAT[:2]]], chat_tokenizer, num_samples=1)
    assert scored_text(chat_tokenizer, data) == ["  It is four.<|end|>"]


def test_an_answer_without_text_is_scored_to_its_end(chat_tokenizer):
    chat = [CHAT[0], {"role": "assistant", "content": ""}, *CHAT[2:]]
    data = single([chat], chat_tokenizer, num_samples=1)
    assert scored_text(chat_tokenizer, data) == ["<|end|>Five, naïvely.<|end|>"]


def test_without_a_template_a_conversation_becomes_lines(tokenizer):
    data = single([CHAT], tokenizer, num_samples=1)
    expected = "What is two plus two?\n  It is four.<|end|>And three?\nFive, naïvely.<|end|>"
    assert decoded(tokenizer, data.sequences[0]) == expected
    assert scored_text(tokenizer, data) == ["  It is four.<|end|>Five, naïvely.<|end|>"]


def test_without_a_template_content_may_be_parts_of_text_and_nothing_else(tokenizer):
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "two plus two?"}]
    data = single([[{"role": "user", "content": parts}, CHAT[1]]], tokenizer, num_samples=1)
    assert decoded(tokenizer, data.sequences[0]) == "What is\ntwo plus two?\n  It is four.<|end|>"
    with pytest.raises(DataError, match="message 1 holds more than text"):
        encode_document([{"role": "user", "content": [{"type": "thing"}]}, CHAT[1]], tokenizer, "auto")


def test_scored_tokens_all_scores_every_token_but_the_first(chat_tokenizer):
    for template in (PLAIN, MARKED, REWRITING):
        tokenizer = make_tokenizer(template)
        sequence = single([CHAT], tokenizer, num_samples=1, scored_tokens="all").sequences[0]
        assert sequence["labels"][0] == -100
        assert torch.equal(sequence["labels"][1:], sequence["input_ids"][1:])


def test_auto_scores_all_of_a_text_and_the_answers_of_a_conversation(chat_tokenizer):
    data = single([SENTENCES[0], CHAT[:2]], chat_tokenizer, num_samples=2)
    first_token = chat_tokenizer.tokenize(SENTENCES[0])[0]
    assert scored_text(chat_tokenizer, data) == [SENTENCES[0][len(first_token) :], "  It is four.<|end|>"]


def test_text_has_no_answers(tokenizer):
    with pytest.raises(DataError, match="plain text has no answers"):
        single(SENTENCES, tokenizer, scored_tokens="answers")


@pytest.mark.parametrize("template", [REWRITING, REMINDING])
def test_a_template_that_rewrites_earlier_turns_hides_no_answer(template):
    tokenizer = make_tokenizer(template)
    end = "<|end|>" if template == REWRITING else "\n"
    (text,) = scored_text(tokenizer, single([CHAT], tokenizer, num_samples=1))
    assert text == f"  It is four.{end}Five, naïvely.{end}"


def test_a_template_that_leaves_out_the_answers_is_an_error():
    for scored_tokens in ("auto", "all"):
        with pytest.raises(DataError, match=r"row 1 of a list: .* leaves out the text of message 2 \(assistant\)"):
            single([CHAT], make_tokenizer(FORGETTING), scored_tokens=scored_tokens)


def test_a_conversation_that_the_template_refuses_is_named():
    chat = [{"role": "system", "content": "Be brief."}, *CHAT[:2]]
    with pytest.raises(DataError, match="refuses a conversation of system, user.*no system role"):
        single([chat], make_tokenizer(ROLE_CHECKING))


def test_special_tokens_that_the_tokenizer_adds_stay():
    from tokenizers.processors import TemplateProcessing

    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        "<|system|> $A", special_tokens=[("<|system|>", 3)]
    )
    texts = single([SENTENCES[0], CHAT[:2]], tokenizer, num_samples=2)
    assert [int(item["input_ids"][0]) for item in texts.sequences] == [3, 3]
    assert scored_text(tokenizer, texts) == [SENTENCES[0], "  It is four.<|end|>"]


@pytest.mark.parametrize("place", ["start", "blanks", "glued"])
def test_marks_of_a_template_are_exact(place):
    """Also where the marked span begins with blanks, or is the first thing of all: no turn of the user is scored."""
    begin = {
        "start": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}",
        "blanks": "{% for m in messages %}{{ m.role }}{% if m.role == 'assistant' %}{% generation %} {{ m.content }}",
        "glued": "{% for m in messages %}{% if m.role == 'assistant' %}:{% generation %}{{ m.content }}",
    }[place]
    template = (
        begin + "{{ eos_token }}{% endgeneration %}{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
    )
    tokenizer = make_tokenizer(template)
    greeted = [{"role": "assistant", "content": "a"}, *CHAT]
    blank = " " if place == "blanks" else ""
    (text,) = scored_text(tokenizer, single([greeted], tokenizer, num_samples=1))
    assert text.endswith(f"{blank}  It is four.<|end|>{blank}Five, naïvely.<|end|>")
    assert "What is two" not in text and "And three" not in text


def test_no_answer_is_scored(chat_tokenizer):
    with pytest.raises(DataError, match="no token is scored in a list, 1 window of up to 256 tokens"):
        single([CHAT[:1]], chat_tokenizer, num_samples=1)


def test_encoding_an_empty_text_gives_nothing(tokenizer):
    assert encode_document("", tokenizer, "auto") == EncodedDocument([], [])
