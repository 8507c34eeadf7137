# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Images in a column of their own, and their places in the conversations."""

from __future__ import annotations

import datasets
import pytest

from optimum_evoesap.data import DataError, prepare_data
from optimum_evoesap.data.image_columns import place_images
from tests.data.images import answer, image, make_processor, make_tokenizer, options, question, scored_text


def test_images_in_a_column_of_a_data_set(tmp_path):
    processor = make_processor()
    pictures = [image(seed) for seed in range(4)]
    direct = [[question(image=pictures[2 * index]), answer(f"dog {index}")] for index in range(2)]
    expected = prepare_data(direct, options(2), processor).fingerprint
    rows = [
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image", "text": None}, {"type": "text", "text": "What is this?"}],
                },
                {"role": "assistant", "content": [{"type": "text", "text": f"dog {index}"}]},
            ],
            "images": [pictures[2 * index]],
        }
        for index in range(2)
    ]
    features = datasets.Features(
        {
            "messages": [
                {
                    "role": datasets.Value("string"),
                    "content": [dict.fromkeys(("type", "text"), datasets.Value("string"))],
                }
            ],
            "images": datasets.List(datasets.Image()),
        }
    )
    dataset = datasets.Dataset.from_list(rows, features=features)
    assert prepare_data(rows, options(2), processor).fingerprint == expected
    assert prepare_data(dataset, options(2), processor).fingerprint == expected
    dataset.to_parquet(tmp_path / "a.parquet")
    read = prepare_data(str(tmp_path / "a.parquet"), options(2), processor)
    assert {scored_text(processor, sequence) for sequence in read.sequences} == {"dog 0<|end|>", "dog 1<|end|>"}
    assert all("pixel_values" in sequence for sequence in read.sequences)
    renamed = dataset.rename_columns({"images": "pictures"})
    columns = {"messages": "messages", "images": "pictures"}
    assert prepare_data(renamed, options(2, columns=columns), processor).fingerprint == expected


@pytest.mark.parametrize(
    ("messages", "images", "expected"),
    [
        ([{"role": "user", "content": "q"}], [], ["q"]),
        ([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}], "AB", ["s", ["A", "B", "q"]]),
        ([{"role": "user", "content": "<image>\nq <image>"}], "AB", [["A", "\nq ", "B"]]),
        ([{"role": "user", "content": [{"type": "text", "text": "q"}]}], "A", [["A", "q"]]),
        (
            [question("one"), answer("<image>"), question("two")],
            "AB",
            [["A", "one"], "<image>", ["B", "two"]],
        ),
        ([question("one", image="kept"), question("two")], "A", [["kept", "one"], ["A", "two"]]),
    ],
)
def test_places_of_images(messages, images, expected):
    def shown(content):
        return content if isinstance(content, str) else [part.get("image", part.get("text")) for part in content]

    assert [shown(message["content"]) for message in place_images(messages, list(images))] == expected


@pytest.mark.parametrize("messages", [[question(), question()], [{"role": "user", "content": "<image> <image>"}]])
def test_as_many_images_as_places(messages):
    with pytest.raises(DataError, match="has 2 places for images, but its row holds 1 images"):
        prepare_data([{"messages": messages, "image": "a.png"}], options(), make_tokenizer())
