# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A tiny checkpoint, data for it, and the command line in this process."""

from __future__ import annotations

import json
import logging
import sys

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import OlmoeConfig, OlmoeForCausalLM
from transformers import PreTrainedTokenizerFast as FastTokenizer

from optimum.commands import optimum_cli
from tests.commands.helpers import EXPERT_WIDTH, EXPERTS, HIDDEN, LAYERS, SENTENCES, TOP_K, VOCABULARY


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny random OLMoE with a tokenizer."""
    torch.manual_seed(0)
    config = OlmoeConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=EXPERT_WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_experts=EXPERTS,
        num_experts_per_tok=TOP_K,
        initializer_range=0.4,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    folder = tmp_path_factory.mktemp("model")
    OlmoeForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    FastTokenizer(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A local jsonl."""
    path = tmp_path_factory.mktemp("data") / "text.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in SENTENCES), encoding="utf-8")
    return path


@pytest.fixture
def cli(monkeypatch, capsys):
    """Runs `optimum-cli evoesap ...` in this process; gives the exit code and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["optimum-cli", "evoesap", *map(str, arguments)])
        code = 0
        try:
            optimum_cli.main()
        except SystemExit as stop:
            code = stop.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    yield run
    # A command lets the package say more; other tests in this process are not to do the work of that.
    logging.getLogger("optimum_evoesap").setLevel(logging.NOTSET)
