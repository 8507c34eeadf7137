# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Samples that are rows of tensors, among them those of images, which are passed on to the model."""

from __future__ import annotations

import logging

import datasets
import pytest
import torch

from optimum_evoesap import EvoESAPConfig
from optimum_evoesap.data import DataError, TokenizedData, prepare_data
from optimum_evoesap.run.inputs import ModelInputs
from tests.data.images import options, row
from tests.model_matrix import make_model
from tests.model_matrix.multimodal import IMAGE_INPUTS
from tests.model_matrix.rows import ROWS


MULTIMODAL = [name for name in IMAGE_INPUTS if ROWS[name].is_installed]


@pytest.mark.parametrize("model_type", MULTIMODAL)
@torch.no_grad()
def test_a_row_of_tensors_reaches_the_model_as_it_is(model_type):
    model, inputs = make_model(model_type), row(model_type)
    source = ModelInputs(model, EvoESAPConfig(sequence_length=256, search_samples=2, calibration_samples=2), None)
    (batch,) = source.batches(source.get("calibration", [inputs]))
    labels = batch.pop("labels")
    assert batch.keys() == inputs.keys()
    assert all(torch.equal(batch[name], tensor) for name, tensor in inputs.items())
    scored = inputs["input_ids"] != model.config.image_token_id
    scored[:, 0] = False
    assert torch.equal(labels, inputs["input_ids"].masked_fill(~scored, -100))


@torch.no_grad()
def test_floating_point_tensors_get_the_dtype_of_the_model():
    model = make_model("qwen3_vl_moe", torch.bfloat16)
    source = ModelInputs(model, EvoESAPConfig(sequence_length=64), None)
    (batch,) = source.batches(source.get("search", [row()]))
    dtypes = {name: tensor.dtype for name, tensor in batch.items()}
    assert dtypes["pixel_values"] == torch.bfloat16 and dtypes["mm_token_type_ids"] == torch.int32
    assert torch.isfinite(model(**batch).logits).all()


def test_samples_with_images_are_batches_of_their_own():
    text = [{"input_ids": torch.arange(3, 3 + length)} for length in (6, 9, 7)]
    data = prepare_data([text[0], row(), row(), *text[1:]], options())
    batches = list(data.batches(4))
    assert [batch["input_ids"].shape for batch in batches] == [(1, 6), (1, 16), (1, 16), (2, 9)]
    assert ["pixel_values" in batch for batch in batches] == [False, True, True, False]
    assert "attention_mask" not in batches[1] and "attention_mask" in batches[3]
    assert data.description == "a list, 5 windows of up to 64 tokens, 2 of them with images or other inputs"
    assert data.num_tokens == 22 + 32


def test_input_ids_may_have_one_dimension():
    inputs = row()
    flat = {**inputs, "input_ids": inputs["input_ids"][0], "mm_token_type_ids": inputs["mm_token_type_ids"][0]}
    assert prepare_data([flat], options()).fingerprint == prepare_data([inputs], options()).fingerprint


def test_positions_of_height_and_width_are_kept():
    inputs = {**row(), "position_ids": torch.arange(48).reshape(3, 1, 16)}
    (batch,) = prepare_data([inputs], options()).batches(2)
    assert torch.equal(batch["position_ids"], inputs["position_ids"])
    inputs = {**row(), "position_ids": torch.arange(16)}
    (batch,) = prepare_data([inputs], options()).batches(2)
    assert batch["position_ids"].shape == (1, 16)


def test_labels_of_the_row_decide_but_for_placeholders():
    inputs = row()
    labels = inputs["input_ids"].clone()
    labels[:, 10:] = -100
    attention_mask = torch.ones_like(labels)
    attention_mask[:, 1] = 0
    data = prepare_data([{**inputs, "labels": labels, "attention_mask": attention_mask}], options())
    # Not the first token, not padding nor what follows it, no placeholder (4 to 7).
    assert (data.sequences[0]["labels"] != -100).nonzero().flatten().tolist() == [3, 8, 9]
    assert data.num_tokens == 15
    without_types = {name: value for name, value in inputs.items() if name != "mm_token_type_ids"}
    assert prepare_data([without_types], options()).num_scored_tokens == 15
    assert prepare_data([without_types], options(), placeholder_tokens=[90]).num_scored_tokens == 11


def test_lists_and_arrays_of_a_data_set_are_tensors(tmp_path):
    inputs = row()
    lists = {name: tensor.tolist() for name, tensor in inputs.items()} | {"source": "somewhere", "id": 3}
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()} | {"score": 0.5}
    path = tmp_path / "tokens.parquet"
    datasets.Dataset.from_list([lists]).to_parquet(path)
    expected = {name: tensor.double() for name, tensor in inputs.items()}
    for data in ([lists], [arrays], str(path)):
        (batch,) = prepare_data(data, options(1)).batches(1)
        assert batch.keys() == inputs.keys() | {"labels"}
        assert all(torch.equal(batch[name].double(), tensor) for name, tensor in expected.items())


def test_tensors_of_the_caller_are_left_alone():
    inputs = row()
    data = prepare_data([inputs], options())
    before = data.sequences[0]["pixel_values"].clone()
    inputs["pixel_values"].zero_()
    assert torch.equal(data.sequences[0]["pixel_values"], before) and before.any()


def test_what_tokenizers_return_beside_tokens_is_no_input():
    tokens = {"input_ids": [3, 4, 5], "token_type_ids": torch.zeros(3), "offset_mapping": torch.zeros(3, 2)}
    data = prepare_data([{**tokens, "length": torch.tensor([3]), "id": torch.tensor(7)}], options())
    assert data.sequences[0].keys() == {"input_ids", "labels"}


@pytest.mark.parametrize(("model_type", "kept"), [("qwen3_vl_moe", False), ("inkling_mm_model", True)])
def test_token_type_ids_go_only_where_the_model_names_them(model_type, kept):
    source = ModelInputs(make_model(model_type), EvoESAPConfig(sequence_length=64), None)
    inputs = row(model_type)
    given = {**inputs, "token_type_ids": torch.zeros_like(inputs["input_ids"])}
    (batch,) = source.batches(source.get("search", [given]))
    assert ("token_type_ids" in batch) == kept


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"input_ids": torch.ones(2, 16, dtype=torch.int64)},
            r"`input_ids` of shape \(2, 16\): give one sample a row",
        ),
        ({"input_ids": torch.ones(1, 0, dtype=torch.int64)}, r"`input_ids` of shape \(1, 0\)"),
        ({"attention_mask": torch.ones(1, 15)}, "attention_mask` of a tokenized row holds torch.float32"),
        ({"labels": torch.ones(1, 15, dtype=torch.int64)}, "must have one shape, but have"),
        ({"pixel_values": [[1.0], [2.0, 3.0]]}, "`pixel_values` of a tokenized row is not a tensor"),
        ({"input_ids": torch.full((1, 16), 96)}, "token id 96 does not fit the model's vocabulary of 96"),
    ],
)
def test_rows_of_tensors_that_cannot_be_used(changes, message):
    with pytest.raises(DataError, match=f"^search data: .*{message}"):
        prepare_data([{**row(), **changes}], options(), vocab_size=96, name="search data")


def test_placeholders_may_lie_outside_the_vocabulary():
    assert len(prepare_data([row()], options(), vocab_size=90, placeholder_tokens=[90])) == 1


def test_samples_that_are_too_long_are_left_out_and_said(caplog):
    short = {"input_ids": torch.arange(3, 9), "pixel_values": torch.ones(1)}
    with caplog.at_level(logging.WARNING, logger="optimum_evoesap.data"):
        data = prepare_data([row(), short, row()], options(sequence_length=15, num_samples=1))
        assert len(data) == 1 and "1 sample with images or other inputs in a list, of 16 tokens" in caplog.text
        assert "`sequence_length` of 15" in caplog.text and "left out" in caplog.text
    assert len(prepare_data([row()], options(sequence_length=16))) == 1
    with pytest.raises(DataError, match="2 samples .* in a list, of 16 tokens, cannot be cut"):
        prepare_data([row(), row()], options(sequence_length=15))


def test_a_text_model_takes_no_images():
    source = ModelInputs(make_model("olmoe"), EvoESAPConfig(), None)
    with pytest.raises(DataError, match="search data: OlmoeForCausalLM reads none of .*pixel_values: load the multi"):
        source.get("search", [row()])
    assert "search" not in source.prepared


def test_the_fingerprint_follows_the_pixels():
    def made(**changes):
        return prepare_data([{**row(), **changes}], options()).fingerprint

    pixels = row()["pixel_values"]
    nearly = pixels.clone()
    nearly[0, 0] += 1e-6
    others = [
        made(pixel_values=nearly),
        made(pixel_values=pixels.bfloat16()),
        made(pixel_values=pixels.view(torch.int32)),
        made(pixel_values=pixels.reshape(32, 48)),
        made(image_grid_thw=torch.tensor([[1, 2, 8]])),
        made(image_grid_thw=torch.tensor([[1, 4, 4]], dtype=torch.int32)),
        made(image_mask=torch.ones(2, dtype=torch.bool)),
    ]
    assert len({made(), *others}) == 8 and made() == made(pixel_values=pixels.clone())


def test_position_ids_for_some_are_an_error_only_where_windows_share_batches():
    text, image = {"input_ids": [3, 4], "position_ids": [0, 1]}, {**row(), "position_ids": torch.zeros(3, 1, 16)}
    assert len(prepare_data([text, row(), image], options())) == 3
    with pytest.raises(DataError, match="only some"):
        TokenizedData([{"input_ids": torch.ones(2)}, {"input_ids": torch.ones(2), "position_ids": torch.ones(2)}], "")
