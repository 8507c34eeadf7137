# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Data with images: tensors that are passed on, and conversations that a processor reads."""

from __future__ import annotations

import base64
import io
import logging
from pathlib import Path

import datasets
import numpy
import pytest
import torch
import transformers
from transformers import AutoProcessor, AutoTokenizer, LlavaProcessor, Qwen3VLProcessor
from transformers.processing_utils import ProcessorMixin

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult
from optimum_evoesap.data import DataError, DataOptions, TokenizedData, prepare_data
from optimum_evoesap.data.image_columns import place_images
from optimum_evoesap.data.processors import text_tokenizer, wants_parts
from optimum_evoesap.run.inputs import ModelInputs
from tests.model_matrix import make_config, make_model
from tests.model_matrix.multimodal import IMAGE_INPUTS
from tests.model_matrix.rows import ROWS


TOKENIZER = Path(__file__).parents[2] / "examples" / "tiny_moe" / "checkpoint"
MULTIMODAL = [name for name in IMAGE_INPUTS if ROWS[name].is_installed]
SPECIAL = ["<image>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]

CONTENT = (
    "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
    "{{ '<image>' if p.type == 'image' else p.text }}{% endfor %}{% endif %}"
)
ONLY_PARTS = "{% for p in m.content %}{{ '<image>' if p.type == 'image' else p.text }}{% endfor %}"
PLAIN = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>' }}CONTENT{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
MARKED = PLAIN.replace(
    "CONTENT{{ '<|end|>' }}",
    "{% if m.role == 'assistant' %}{% generation %}CONTENT{{ '<|end|>' }}{% endgeneration %}"
    "{% else %}CONTENT{{ '<|end|>' }}{% endif %}",
)
TEMPLATES = [
    PLAIN.replace("CONTENT", CONTENT),
    MARKED.replace("CONTENT", CONTENT),
    PLAIN.replace("CONTENT", ONLY_PARTS),
]


def options(num_samples=8, sequence_length=64, **changes):
    return DataOptions(num_samples, sequence_length, **changes)


def row(model_type="qwen3_vl_moe"):
    return IMAGE_INPUTS[model_type](make_config(model_type))


# Rows of tensors


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


# Conversations


def image(seed=0):
    pillow = pytest.importorskip("PIL.Image")
    pixels = numpy.random.default_rng(seed).integers(0, 255, (20, 30, 3), dtype=numpy.uint8)
    return pillow.fromarray(pixels)


def make_tokenizer():
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    tokenizer.add_tokens(SPECIAL, special_tokens=True)
    tokenizer.chat_template = None
    return tokenizer


def make_processor(template=TEMPLATES[0]):
    pytest.importorskip("PIL")
    reads_images = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
    )
    return LlavaProcessor(
        reads_images, make_tokenizer(), patch_size=8, vision_feature_select_strategy="full", chat_template=template
    )


class QwenImageProcessor(Qwen3VLProcessor):
    """Without the part for videos, which needs torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None):
        for kind in ("image", "video"):
            token = f"<|{kind}_pad|>"
            setattr(self, f"{kind}_token", token)
            setattr(self, f"{kind}_token_id", tokenizer.convert_tokens_to_ids(token))
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def make_qwen_processor(template=TEMPLATES[0]):
    pytest.importorskip("PIL")
    reads_images = transformers.Qwen2VLImageProcessorPil(patch_size=4, min_pixels=256, max_pixels=512)
    template = template.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
    return QwenImageProcessor(reads_images, make_tokenizer(), chat_template=template)


def question(text="What is this?", **source):
    return {"role": "user", "content": [{"type": "image", **source}, {"type": "text", "text": text}]}


def answer(text="a dog"):
    return {"role": "assistant", "content": text}


def chat(seed=0):
    return [question(image=image(seed)), answer(f"dog number {seed}")]


def scored_text(processor, sequence):
    return text_tokenizer(processor).decode(sequence["labels"][sequence["labels"] != -100])


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


def test_text_for_a_template_that_reads_parts_only():
    strings, parts = make_processor(TEMPLATES[0]), make_processor(TEMPLATES[2])
    assert [wants_parts(text_tokenizer(each)) for each in (strings, parts)] == [False, True]
    texts = [[{"role": "user", "content": "What is two plus two?"}, answer("four")]]
    assert prepare_data(texts, options(1), parts).fingerprint == prepare_data(texts, options(1), strings).fingerprint


def test_plain_text_goes_through_the_tokenizer_of_the_processor():
    processor = make_processor()
    data = prepare_data(["What is two plus two?"], options(1), processor)
    assert data.fingerprint == prepare_data(["What is two plus two?"], options(1), processor.tokenizer).fingerprint


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


# Rows with columns of images


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


# The whole way


def save_model(folder, model_type, processor):
    """A tiny multimodal model that fits the processor, with it in one folder."""
    config, tokenizer = make_config(model_type), processor.tokenizer
    config.text_config.vocab_size = len(tokenizer)
    config.image_token_id = processor.image_token_id
    if hasattr(config, "vision_start_token_id"):
        config.video_token_id = processor.video_token_id
        config.vision_start_token_id, config.vision_end_token_id = tokenizer.convert_tokens_to_ids(SPECIAL[3:])
    torch.manual_seed(0)
    model = ROWS[model_type].load_class()._from_config(config).eval()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model


CONFIG = {"sparsity": 0.5, "generations": 2, "population_size": 4, "num_elites": 2, "sequence_length": 64}
CONFIG |= {"calibration_samples": 4, "search_samples": 4, "batch_size": 2}


def test_prune_a_multimodal_model_on_images(tmp_path):
    processor = make_processor()
    save_model(tmp_path / "model", "internvl (qwen3_moe)", processor)
    pruner = MoEPruner.from_pretrained(tmp_path / "model", EvoESAPConfig(**CONFIG))
    assert type(pruner.model).__name__ == "InternVLForConditionalGeneration"
    assert isinstance(pruner.tokenizer, LlavaProcessor)
    pruned = pruner.prune(tmp_path / "out", [chat(seed) for seed in range(4)], [chat(seed) for seed in range(4, 9)])

    result = PruningResult.load(tmp_path / "out")
    assert result.data["calibration"]["description"].endswith("4 of them with images or other inputs")
    assert set(result.scores) == {"best", "uniform", "holdout_best", "holdout_uniform"}
    assert all(0 < score < 1 for score in result.scores.values())
    saved = AutoProcessor.from_pretrained(tmp_path / "out")
    inputs = saved.apply_chat_template([chat()], tokenize=True, return_dict=True, return_tensors="pt")
    model = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, pruned(**inputs).logits)


def test_statistics_see_the_images():
    processor = make_processor()
    measured = []
    for seed in (1, 2):
        model = make_matching_model(processor)
        pruner = MoEPruner(model, EvoESAPConfig(**CONFIG), processor)
        messages = [question(image=image(seed)), answer()]
        measured.append(pruner.calibrate([messages]))
        tokens = processor.apply_chat_template([messages], tokenize=True, return_dict=True, return_tensors="pt")
        assert measured[-1].num_tokens == tokens["input_ids"].numel()
    layer = pruner.sparse_layers[0]
    norms = [statistics.layers[layer].norm_sum for statistics in measured]
    assert not torch.allclose(*norms)


def make_matching_model(processor):
    config = make_config("internvl (qwen3_moe)")
    config.text_config.vocab_size = len(processor.tokenizer)
    config.image_token_id = processor.image_token_id
    torch.manual_seed(0)
    return ROWS["internvl (qwen3_moe)"].load_class()._from_config(config).eval()


def test_prune_qwen_on_images_and_text(tmp_path):
    processor = make_qwen_processor()
    model = save_model(tmp_path / "model", "qwen3_vl_moe", processor)
    pruner = MoEPruner(model, EvoESAPConfig(**CONFIG), processor)
    text = [[{"role": "user", "content": "What is two plus two?"}, answer("four")]] * 8
    pruner.prune(tmp_path / "out", [*text, chat(0), chat(1)], [chat(seed) for seed in range(5)])
    assert pruner.scores["best"] >= pruner.scores["uniform"] > 0
    assert (tmp_path / "out" / "processor_config.json").is_file()
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == processor.chat_template
