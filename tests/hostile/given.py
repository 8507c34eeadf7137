# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What comes with a model and its data."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from optimum_evoesap import inspect_model
from optimum_evoesap.data import DataOptions, prepare_data
from tests.data.chat_templates import TEMPLATES
from tests.data.texts import make_tokenizer
from tests.model_matrix import make_config

from .mutations import changed, damaged, hostile_json
from .registry import kind, written


@cache
def _checkpoints() -> list[dict[str, Any]]:
    configs = []
    for model_type in ("olmoe", "deepseek_v3", "qwen3_vl_moe", "granitemoe", "dbrx"):
        values = json.loads(make_config(model_type).to_json_string(use_diff=False))
        configs.append({name: value for name, value in values.items() if value is not None})
    per_layer = configs[0] | {"per_layer_config": {"0": {"num_experts": 3}, "1": {"num_experts": 4}}}
    return [*configs, per_layer, per_layer | {"auto_map": {"AutoConfig": "code.Config"}}]


@kind("checkpoint config", lambda random: hostile_json(random, _checkpoints()), r"config|can be pruned")
def read_checkpoint(content: bytes, folder: Path) -> None:
    """The config of a model is read, and the model built without weights."""
    (folder / "code.py").write_text("raise SystemExit('foreign code ran')\n")
    found = inspect_model(written(content, folder, "config.json"))
    assert found.layers and all(layer.num_experts > 0 and layer.min_kept > 0 for layer in found.layers)


@cache
def _rows() -> list[Any]:
    turns = [{"role": "user", "content": "What is two plus two?"}, {"role": "assistant", "content": "It is four."}]
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": {"a": 2, "b": 2}}}
    answer = [{"role": "tool", "content": "4"}, turns[1]]
    parts = [{"type": "text", "text": "Look"}, {"type": "text", "text": "here."}]
    return [
        {"text": "The first expert routes token one to the layer."},
        {"messages": turns},
        {"conversations": [{"from": "human", "value": "Hello there"}, {"from": "gpt", "value": "Hello you"}]},
        {"prompt": "Two plus two?", "completion": "Four."},
        {"instruction": "Add", "input": "2 2", "output": "4"},
        {"messages": [turns[0], {"role": "assistant", "content": "", "tool_calls": [call]}, *answer], "tools": tools},
        {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "<think>So.</think>4"}]},
        {"prompt": turns[:1], "completion": turns[1:], "system": "Be short.", "history": [["a", "b"]]},
        {"input_ids": [5, 6, 7, 8], "attention_mask": [1, 1, 1, 1], "labels": [-100, 6, 7, 8]},
        turns,
        "Plain words of a text.",
    ]


def _some_rows(random: Random) -> list[Any]:
    rows = _rows()
    return [
        changed(random, rows) if random.randint(0, 3) else random.choice(rows) for _ in range(random.randint(1, 2))
    ]


@cache
def _tokenizer(shape: str | None) -> Any:
    return make_tokenizer(shape and TEMPLATES[shape], eos_token="<|end|>", bos_token="<|begin|>")


def _prepared(data: Any, shape: str | None, **changes: Any) -> None:
    found = prepare_data(data, DataOptions(8, 16, **changes), _tokenizer(shape), vocab_size=len(_tokenizer(shape)))
    assert len(found) and found.num_tokens and found.num_scored_tokens, "no token is scored"


_SHAPES = ["chatml", "qwen3", "gemma", None]


@kind(
    "rows",
    lambda random: (_some_rows(random), random.choice(_SHAPES), random.random() < 0.5),
    r"\b(row|sample|document|data|field|column|conversation)",
)
def read_rows(given: tuple[list[Any], str | None, bool], folder: Path) -> None:
    """Rows in memory become windows."""
    rows, shape, packing = given
    _prepared(rows, shape, packing=packing)


def _lines(random: Random) -> tuple[bytes, str, str | None]:
    rows, is_list = _some_rows(random), random.random() < 0.5
    text = json.dumps(rows) if is_list else "".join(json.dumps(row) + "\n" for row in rows)
    content = text.encode() if random.randint(0, 2) else damaged(random, text.encode())
    return content, random.choice(["jsonl", "json"]), random.choice(_SHAPES)


@kind("data file", _lines, r"d\.jsonl?\b")
def read_data_file(given: tuple[bytes, str, str | None], folder: Path) -> None:
    """Rows of a file become windows."""
    content, suffix, shape = given
    _prepared(str(written(content, folder, f"d.{suffix}") / f"d.{suffix}"), shape)
