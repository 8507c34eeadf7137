# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Runs killed with SIGKILL at random moments of each stage: `python -m benchmarks.kills`.

After each kill the output folder must not load as a model, unless the result was whole; and the same run, started
again, must end in the files of the unbroken one, byte for byte. Half of the runs keep all they can, the others keep it
as a run does, every few seconds.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from benchmarks.killing import STAGES, STEPS, run_in_child
from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.run import pace, piece_folder


SHARED = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 256,
    "num_experts_per_tok": 2, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
ARCHITECTURES = {
    "olmoe": {"intermediate_size": 32, "num_experts": 8},
    "deepseek_v3": {
        "intermediate_size": 64, "moe_intermediate_size": 32, "n_routed_experts": 8, "n_shared_experts": 1,
        "first_k_dense_replace": 1, "n_group": 2, "topk_group": 2, "kv_lora_rank": 16, "q_lora_rank": 16,
        "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16,
    },
}  # fmt: skip
CONFIG = {
    "sparsity": 0.5, "criterion": "auto", "sequence_length": 32, "batch_size": 2, "calibration_samples": 16,
    "criterion_samples": 2, "search_samples": 4, "holdout_fraction": 1.0, "seed": 1,
}  # fmt: skip
# All steps of the guided search, and training by gradient too.
SEARCHES = {
    "olmoe": {"allocation": "guided"},
    "deepseek_v3": {"allocation": "gradient_guided", "max_evaluations": 60},
}
# A moment that is missed, since the stage was faster this time, is drawn again.
MOST_DRAWS = 20


def make_model(architecture: str, folder: Path) -> None:
    """Write a tiny model with random weights."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(architecture, **SHARED | ARCHITECTURES[architecture])
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    model.save_pretrained(folder)


def rows(count: int, seed: int) -> list[dict[str, list[int]]]:
    """Rows of random tokens."""
    draw = random.Random(seed)
    return [{"input_ids": [draw.randrange(3, 256) for _ in range(32)]} for _ in range(count)]


def prune(folder: Path, output: Path, keeps_all: bool = False) -> None:
    """The run that is killed."""
    pace.MOST_OF_TIME = math.inf if keeps_all else pace.MOST_OF_TIME
    pace.SECONDS_BETWEEN = 0.0 if keeps_all else pace.SECONDS_BETWEEN
    search = SEARCHES[(folder / "architecture").read_text()]
    pruner = MoEPruner.from_pretrained(folder / "model", EvoESAPConfig(**CONFIG, **search))
    pruner.prune(output, rows(16, 0), rows(8, 1))


def files(folder: Path) -> dict[str, bytes]:
    """All files of a result, not those of the state."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".evoesap" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def loads(folder: Path) -> bool:
    """Whether what is in a folder is taken for a model."""
    try:
        AutoModelForCausalLM.from_pretrained(folder)
    except (OSError, ValueError):
        return False
    return True


def share_of_writing(folder: Path) -> str:
    """How much of an unbroken run goes into keeping its work, at the pace of a run."""
    output, paces = folder / "timed", list[pace.Pace]()

    class Noted(pace.Pace):
        def __init__(self) -> None:
            super().__init__()
            paces.append(self)

    def work() -> None:
        piece_folder.Pace = Noted
        prune(folder, output)
        (output / "seconds").write_text(f"{sum(each.seconds for each in paces)}")

    end = run_in_child(work)
    seconds, total = float((output / "seconds").read_text()), sum(end.seconds.values())
    shutil.rmtree(output)
    return f"keeping its work took {seconds:.3f} s of {total:.1f} s"


def kill_and_go_on(
    draw: random.Random, stage: str, span: float, folder: Path, whole: dict[str, bytes], check: Callable[..., None]
) -> str:
    """One run that is killed in a stage and started again; in words."""
    output, keeps_all = folder / "killed", draw.random() < 0.5
    for _ in range(MOST_DRAWS):
        shutil.rmtree(output, ignore_errors=True)
        moment = draw.uniform(0, span)
        end = run_in_child(lambda: prune(folder, output, keeps_all), stage, moment)
        if end.killed_in:
            break
        span = min(span, end.seconds.get(stage, span))
    else:
        raise SystemExit(f"The stage {stage} was over {MOST_DRAWS} times before the moment came.")
    is_whole = loads(output)
    check(not is_whole or files(output) == whole, f"{stage} at {moment:.4f} s: something half written loads")
    again = run_in_child(lambda: prune(folder, output, keeps_all))
    check(again.code == 0, f"{stage} at {moment:.4f} s: the second run failed")
    check(files(output) == whole, f"{stage} at {moment:.4f} s: other bits")
    check(not (output / ".evoesap").exists(), f"{stage} at {moment:.4f} s: the state is still there")
    when = f"{stage:<12} at {1000 * moment:7.1f} ms, {'all kept' if keeps_all else 'at pace'}"
    return f"{when}: {'a whole result' if is_whole else 'no model'}, then {sum(again.seconds.values()):.1f} s"


def try_architecture(
    architecture: str, kills: int, wanted: list[str] | None, draw: random.Random, folder: Path
) -> list[str]:
    """Kill so many runs of one architecture; what went wrong, in words."""
    wrong: list[str] = []
    make_model(architecture, folder / "model")
    (folder / "architecture").write_text(architecture)
    end = run_in_child(lambda: prune(folder, folder / "whole"))
    if end.code:
        raise SystemExit(f"The unbroken run of {architecture} failed.")
    whole, stages = files(folder / "whole"), [each for each in wanted or (*STAGES, *STEPS) if each in end.seconds]
    print(f"{architecture}: unbroken {sum(end.seconds.values()):.1f} s: ", end="")
    print(", ".join(f"{each} {end.seconds[each]:.3f}" for each in stages))
    print(f"  {share_of_writing(folder)}")
    killed: Counter[str] = Counter()
    for number in range(kills):
        stage = stages[number % len(stages)]

        def check(holds: bool, words: str) -> None:
            if not holds:
                wrong.append(words)

        print(f"  {kill_and_go_on(draw, stage, end.seconds[stage], folder, whole, check)}", flush=True)
        killed[stage] += 1
    print(f"  {kills} kills in {len(killed)} stages, {len(wrong)} wrong")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="of each architecture")
    parser.add_argument("--seed", type=int, help="of the moments; drawn by default")
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    parser.add_argument(
        "--stages", nargs="+", choices=[*STAGES, *STEPS], help="in turn; by default all that there are"
    )
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)  # which decide in which order sums are taken, and forked processes have one
    print(f"seed {seed}")
    draw, wrong = random.Random(seed), []
    for architecture in arguments.architectures:
        with tempfile.TemporaryDirectory() as folder:
            wrong += try_architecture(architecture, arguments.kills, arguments.stages, draw, Path(folder))
    for words in wrong:
        print(f"WRONG: {words}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
