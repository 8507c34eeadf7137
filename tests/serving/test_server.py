# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`vllm serve DIR`, compiled and in several processes as by default, answers over HTTP what transformers generates."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import optimum_evoesap  # noqa: F401  (lets transformers build the pruned checkpoint)

from .conftest import ENVIRONMENT, needs_vllm


pytestmark = needs_vllm
CHAT = [{"role": "user", "content": "What is 12 + 34?"}]
START_SECONDS = 300


def wait_for(server: subprocess.Popen, url: str, log: Path) -> None:
    """Until the server answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5)
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(1)
    raise TimeoutError(log.read_text())


@pytest.fixture(scope="module")
def server(checkpoints, tmp_path_factory):
    """The folder of a checkpoint and a client of a server that serves it."""
    from openai import OpenAI

    folder = checkpoints["tiny_moe"].folder
    log = tmp_path_factory.mktemp("server") / "log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    vllm = [sys.executable, str(Path(__file__).with_name("vllm_command.py"))]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*vllm, "serve", str(folder), "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)],
            stdout=out,
            stderr=out,
            env=os.environ | ENVIRONMENT,
            cwd=log.parent,
        )
        try:
            wait_for(process, f"http://127.0.0.1:{port}", log)
            yield folder, OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
        finally:
            process.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()


def generate(folder, ids: list[int], length: int):
    """Greedy tokens of transformers, and their log-probabilities."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        answer = model.generate(torch.tensor([ids]), max_new_tokens=length, do_sample=False)
        logprobs = model(answer).logits[0, len(ids) - 1 : -1].log_softmax(-1)
    new = answer[0, len(ids) :]
    return new.tolist(), logprobs.gather(-1, new[:, None])[:, 0].tolist()


def test_completions(server):
    folder, client = server
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "What is 7 + 5?"
    tokens, logprobs = generate(folder, tokenizer(text).input_ids, 12)
    choice = client.completions.create(
        model=str(folder), prompt=text, max_tokens=12, temperature=0, logprobs=1
    ).choices[0]
    assert choice.text == tokenizer.decode(tokens, skip_special_tokens=True)
    assert choice.logprobs.token_logprobs == pytest.approx(logprobs, abs=1e-4)


def test_chat(server):
    folder, client = server
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=True)["input_ids"]
    tokens, logprobs = generate(folder, ids, 24)
    answer = client.chat.completions.create(
        model=str(folder), messages=CHAT, max_tokens=24, temperature=0, logprobs=True
    ).choices[0]
    assert answer.message.content == tokenizer.decode(tokens, skip_special_tokens=True)
    assert [each.logprob for each in answer.logprobs.content] == pytest.approx(logprobs, abs=1e-4)
