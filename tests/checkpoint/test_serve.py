# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`python -m optimum_evoesap serve`: a real server, asked over HTTP as OpenAI's is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import openai
import pytest
from transformers import AutoTokenizer

from .checkpoints import ROOT, save_pruned


CHAT = [{"role": "user", "content": "Continue: 2, 13, 23, 34, 44"}]
TEXT = "Continue: 7, 9, 11, "


def reply(model, tokenizer, inputs):
    answer = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    return tokenizer.decode(answer, skip_special_tokens=True)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The folder of a served model, a client, and the model in memory with its tokenizer."""
    folder = tmp_path_factory.mktemp("serve") / "tiny_moe"
    model = save_pruned(folder, "tiny_moe")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "optimum_evoesap", "serve", str(folder), "--device", "cpu", "--port", str(port)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    client = openai.OpenAI(base_url=f"http://localhost:{port}/v1", api_key="none", max_retries=0)
    try:
        wait_for(port, process, folder / "log")
        yield folder, client, model, AutoTokenizer.from_pretrained(folder)
    finally:
        process.kill()
        process.wait()


def wait_for(port, process, log):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"the server did not start: {log.read_text()[-3000:]}")


def test_chat_completions(served):
    folder, client, model, tokenizer = served
    inputs = tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    expected = reply(model, tokenizer, inputs)
    options = {"model": str(folder), "messages": CHAT, "max_tokens": 12, "temperature": 0}
    assert len(expected) > 3
    assert client.chat.completions.create(**options).choices[0].message.content == expected
    chunks = client.chat.completions.create(**options, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == expected


def test_completions(served):
    folder, client, model, tokenizer = served
    expected = reply(model, tokenizer, tokenizer(TEXT, return_tensors="pt"))
    answer = client.completions.create(model=str(folder), prompt=TEXT, max_tokens=12, temperature=0)
    assert len(expected) > 3 and answer.choices[0].text == expected
