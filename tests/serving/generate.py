# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Load checkpoints into vLLM one after the other and write down what they generate: `generate.py JOBS ANSWERS`.

A process of its own, as vLLM changes transformers' model classes. It does not import optimum_evoesap: vLLM must load
the plugin by itself.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
from typing import Any


# Small, and the same result at each run.
OPTIONS: dict[str, Any] = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": 128,
    "max_num_seqs": 8,
    "enable_prefix_caching": False,
    "skip_tokenizer_init": True,
    "seed": 0,
}


def generate(folder: str, prompts: list[list[int]], length: int, options: dict[str, Any]) -> dict[str, Any]:
    """Greedy tokens of each prompt, all at once, and the log-probability of each token but the first."""
    from vllm import LLM, SamplingParams

    llm = LLM(folder, **(OPTIONS | options))
    sampling = SamplingParams(
        temperature=0, max_tokens=length, ignore_eos=True, detokenize=False, logprobs=1, prompt_logprobs=1
    )
    answers = llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], sampling, use_tqdm=False)
    tokens, logprobs = [], []
    for prompt, answer in zip(prompts, answers):
        new = list(answer.outputs[0].token_ids)
        given = zip([*prompt[1:], *new], [*answer.prompt_logprobs[1:], *answer.outputs[0].logprobs])
        tokens.append(new)
        logprobs.append([found[token].logprob for token, found in given])
    llm.llm_engine.engine_core.shutdown()
    return {"tokens": tokens, "logprobs": logprobs}


def main(jobs_path: str, answers_path: str) -> None:
    """Do the jobs: dicts with the arguments of `generate` and, in `without_hooks`, the hooks to take away again."""
    from vllm.distributed import cleanup_dist_env_and_memory
    from vllm.plugins import load_general_plugins

    load_general_plugins()
    answers = []
    with open(jobs_path) as file:
        jobs = json.load(file)
    for job in jobs:
        for place in job.pop("without_hooks", ()):
            module, _, name = place.partition(":")
            setattr(importlib.import_module(module), name, getattr(importlib.import_module(module), name).__wrapped__)
        try:
            answers.append(generate(**job))
        except Exception as error:  # the tests look at what it says
            answers.append({"error": f"{type(error).__name__}: {error}"})
        gc.collect()
        cleanup_dist_env_and_memory()
    with open(answers_path, "w") as file:
        json.dump(answers, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
