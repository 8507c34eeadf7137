# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Conversations with images, which a processor reads."""

from __future__ import annotations

import base64
import io
import logging

import pytest
import torch

from optimum_evoesap.data import DataError, prepare_data
from optimum_evoesap.data.processors import text_tokenizer
from tests.data.images import (
    TEMPLATES,
    answer,
    chat,
    image,
    make_processor,
    make_qwen_processor,
    make_tokenizer,
    options,
    question,
    scored_text,
)


@pytest.mark.parametrize("make", [make_processor, make_qwen_processor])
@pytest.mark.parametrize("template", TEMPLATES)
def test_exactly_the_answers_are_scored(make, template):
    processor = make(template)
    pictures = [image(seed) for seed in range(3)]
    long = [
        {"role": "system", "content": "be brief"},
        question(image=pictures[0]),
        answer(),
        {"role": "user", "content": "And this one, and this?"},
        answer("a dog"),
        {**question("and these?", image=pictures[1]), "content": [{"type": "image", "image": pictures[2]}] * 2},
        {"role": "assistant", "content": [{"type": "text", "text": "two dogs"}]},
    ]
    data = prepare_data([chat(), long], options(sequence_length=128), processor)
    assert [scored_text(processor, sequence) for sequence in data.sequences] == [
        "dog number 0<|end|>",
        "a dog<|end|>a dog<|end|>two dogs<|end|>",
    ]
    for sequence, count in zip(data.sequences, (1, 3)):
        places = sequence["input_ids"] == processor.image_token_id
        assert places.sum() > count and (sequence["labels"][places] == -100).all()
        assert (sequence["labels"] == sequence["input_ids"])[sequence["labels"] != -100].all()


@pytest.mark.parametrize("make", [make_processor, make_qwen_processor])
def test_the_tensors_are_the_processors_own(make):
    processor = make()
    expected = processor.apply_chat_template([chat()], tokenize=True, return_dict=True, return_tensors="pt")
    (batch,) = prepare_data([chat()], options(), processor).batches(4)
    assert batch.keys() == expected.keys() | {"labels"}
    assert all(torch.equal(batch[name], tensor) for name, tensor in expected.items())
    assert {"pixel_values", "attention_mask"} <= batch.keys()


def test_all_scores_everything_but_the_first_and_the_image():
    processor = make_qwen_processor()
    (sequence,) = prepare_data([chat()], options(scored_tokens="all"), processor).sequences
    expected = sequence["input_ids"] != processor.image_token_id
    expected[0] = False
    assert torch.equal(sequence["labels"] != -100, expected)


def test_images_may_be_paths_addresses_and_encoded(tmp_path):
    processor, picture = make_processor(), image()
    picture.save(tmp_path / "a.png")
    stored = io.BytesIO()
    picture.save(stored, "png")
    text = base64.b64encode(stored.getvalue()).decode()
    sources = [
        {"image": str(tmp_path / "a.png")},
        {"path": tmp_path / "a.png"},
        {"url": f"data:image/png;base64,{text}"},
        {"image": {"bytes": stored.getvalue(), "path": None}},
        {"image": {"bytes": None, "path": str(tmp_path / "a.png")}},
        {"image": picture, "path": None, "url": None},
    ]
    chats = [[question(**source), answer()] for source in sources]
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text}"}}
    chats.append([{**question(), "content": [part, {"type": "text", "text": "What is this?"}]}, answer()])
    fingerprints = {prepare_data([each], options(), processor).fingerprint for each in chats}
    assert fingerprints == {prepare_data([[question(image=picture), answer()]], options(), processor).fingerprint}


def test_the_messages_of_the_caller_are_left_alone():
    messages = chat()
    content = messages[0]["content"]
    before = list(content)
    prepare_data([messages], options(), make_processor(TEMPLATES[2]))
    assert messages[0]["content"] is content and content == before and messages[1]["content"] == "dog number 0"


def test_text_and_images_mix_with_packing():
    processor = make_processor()
    texts = [[{"role": "user", "content": "What is two plus two?"}, answer("four")]] * 6
    data = prepare_data([*texts[:3], chat(1), *texts[3:]], options(sequence_length=24), processor)
    packed = [sequence for sequence in data.sequences if "pixel_values" not in sequence]
    assert len(data) == len(packed) + 1 and len(packed) > 1
    assert all("position_ids" in sequence for sequence in packed)
    assert "four" in scored_text(processor, packed[0])
    assert prepare_data(texts, options(sequence_length=24), processor).fingerprint == (
        prepare_data(texts, options(sequence_length=24), text_tokenizer(processor)).fingerprint
    )


@pytest.mark.parametrize(
    ("make", "messages", "message"),
    [
        (make_tokenizer, lambda: chat(), "which a .* cannot read: pass the model's processor as `tokenizer`"),
        (lambda: make_processor(None), lambda: chat(), "LlavaProcessor has no chat template"),
        (make_processor, lambda: [question(), answer()], "a part of type 'image' names nothing to read"),
        (make_processor, lambda: [question(image="no/such.png"), answer()], "cannot read .*no/such.png"),
        (make_processor, lambda: [question(image=image()), answer(), answer("<image>")], "cannot read a conversation"),
        (make_processor, lambda: [question(image=image())], "no token is scored"),
    ],
)
def test_conversations_that_cannot_be_read(make, messages, message):
    with pytest.raises(DataError, match=f"^search data: .*{message}"):
        prepare_data([messages()], options(), make(), name="search data")


def test_long_conversations_are_left_out(caplog):
    processor = make_processor()
    long = [question("What is this? " * 20, image=image()), answer()]
    with caplog.at_level(logging.WARNING, logger="optimum_evoesap.data"):
        data = prepare_data([long, chat()], options(sequence_length=32), processor)
    assert len(data) == 1 and "left out" in caplog.text
