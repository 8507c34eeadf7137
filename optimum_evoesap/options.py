# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Every choice a user makes, as plain dataclass fields.

Kept apart from [`EvoESAPConfig`] because that class imports transformers and so torch: the command line builds its
options from these fields and answers `--help` without importing either.
"""

from __future__ import annotations

import math
from dataclasses import InitVar, dataclass, field
from typing import Any


# Tokens on which a measured criterion orders experts as on four times as many (benchmarks/quality/NOTES.md).
_CRITERION_TOKENS = 4_096


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(kw_only=True)
class EvoESAPOptions:
    """The fields of [`EvoESAPConfig`], their defaults and their help texts."""

    sparsity: float | None = _option(
        0.25,
        "Share of the routed experts to remove, in (0, 1), rounded to whole experts in each layer. Follows from an "
        "explicit allocation.",
    )
    target_size: str | int | None = _option(
        None,
        "In place of sparsity: bytes that the tensors of the checkpoint may have, all parts of the model included, as "
        "a number or with a unit, such as 24GB (10**9 bytes each) or 24GiB (2**30). As few experts as that takes go.",
    )
    criterion: str = _option(
        "esap",
        "Which experts of a layer go first: esap or reconstruction, measured by leaving out one expert at a time; "
        "frequency, ean, seer, reap, reap_renormalised, man or msan, made of what experts do; or a registered name. "
        "auto takes the one of those named here whose order scores best at the wanted budget.",
    )
    allocation: str | list[int] | dict[int, int] = _option(
        "guided",
        "What goes from each layer: guided (measured curves and steps around the best point), evolution (the paper's "
        "search), gradient (keep logits trained through the frozen model; gradient_guided begins, and guided_gradient "
        "ends, the guided search with them), another registered strategy, uniform, or the removed counts themselves, "
        "as a list (one per sparse layer) or a dict (decoder layer to count).",
    )
    fitness: str = _option(
        "esap", "What the search maximises: esap, kl, reverse_kl, nll, sampled_acceptance or a registered name."
    )

    goal: str = _option(
        "mean",
        "Where the search data are a mixture: maximise the mean of the fitness over all scored positions, or worst, "
        "that of the data set in which it is lowest.",
    )

    criterion_samples: int | None = _option(
        None,
        "Windows of calibration data on which a criterion that runs the model for every expert is measured; by "
        "default as many as hold 4096 tokens. The guided strategy measures again on up to four times as many.",
    )

    calibration_dataset: str | None = _option(
        "theblackcat102/evol-codealpaca-v1",
        "Data that the criterion's statistics come from: a Hub name, a local path, or a mixture name:samples,...; "
        "none in the record of a run whose data were given in memory.",
    )
    calibration_samples: int = _option(1024, "Windows of calibration data.")
    search_dataset: str | None = _option(
        "allenai/tulu-3-sft-personas-math", "Data on which candidates are scored; the same forms."
    )
    search_samples: int = _option(64, "Windows of search data.")
    holdout_fraction: float = _option(
        0.25,
        "Further windows, as a share of search_samples, that the search never sees and on which the result is "
        "compared with the uniform allocation; taken from the counts where a mixture writes them. 0 turns it off.",
    )
    sequence_length: int = _option(
        4096, "Tokens in a window; no more than the model was made for (its max_position_embeddings)."
    )
    batch_size: int | None = _option(
        None,
        "Windows in one forward pass; by default 4 on the CPU, and on a GPU as many as hold 16384 tokens. Where they "
        "do not fit into the GPU's memory, fewer are taken.",
    )
    packing: bool = _option(True, "Pack documents into full windows; otherwise one document a window, padded.")
    scored_tokens: str = _option(
        "auto", "Tokens that count: answers, all, or auto (answers where the data has them, else all)."
    )
    columns: dict[str, str] | None = _option(
        None,
        "Names of the data's own columns, as {role: column}; roles are text, prompt, response, messages.",
    )
    skip_unusable_rows: bool = _option(
        False,
        "Leave out rows of the data that cannot be read, or that the chat template refuses, and say how many; "
        "otherwise the first one ends the run, with its number.",
    )
    data_split: str = _option("train", "Split of the data sets.")
    data_config: str | None = _option(None, "Configuration name of the data sets, such as en for allenai/c4.")
    data_revision: str | None = _option(None, "Revision that pins the data sets; also written name@revision.")

    population_size: int = _option(32, "Candidates in a generation.")
    num_elites: int = _option(4, "Best candidates kept, and mutated, from one generation to the next.")
    generations: int = _option(50, "Generations of the search (paper: 50 for OLMoE, 20 for ERNIE, 10 for Qwen3-30B).")
    max_delta: int = _option(4, "Most experts that one mutation moves between two layers.")
    max_mutations: int = _option(3, "Most mutations between a parent and its child.")
    racing: bool | None = _option(
        None,
        "Score the many candidates of a round on little text first, the better ones on more, only the best on all; by "
        "default as suits the strategy.",
    )
    max_evaluations: int | None = _option(
        None,
        "Most scores of a candidate on all search windows that the search may take; on fewer windows a score counts "
        "in part. By default the strategy decides when it is done.",
    )
    max_minutes: float | None = _option(
        None,
        "Most minutes that the search may take, counting those of a killed run that goes on; what is better among the "
        "candidates that are scored by then is taken. By default no limit.",
    )
    patience: int | None = _option(
        None,
        "Stop the search after so many rounds, one after the other, in which new candidates of the budget get scores "
        "on all search windows and none is better than the best before (of evolution: generations). By default the "
        "strategy decides when it is done.",
    )
    min_experts: int | None = _option(
        None, "Fewest experts kept in a layer; by default, and never fewer than, max(2, top-k) of the model."
    )
    keep: dict[int, list[int]] | None = _option(
        None, "Experts that stay in any case, as {decoder layer: [experts]}; the others go in their order."
    )
    protect_super_experts: bool = _option(
        False,
        "Keep the experts with the most extreme outputs in any case: those whose largest output on the calibration "
        "data has a norm above the 99.5th percentile of all experts and above a tenth of the largest (super experts, "
        "arXiv 2507.23279).",
    )
    uniform_counts: bool = _option(
        False,
        "Remove the same number of experts from every sparse layer, for programs that read one number; which ones go "
        "is still chosen.",
    )
    guard: bool = _option(
        True,
        "Take the uniform allocation where the one that was searched does not beat it on held-out windows.",
    )
    report_to: str | list[str] | None = _option(
        None,
        "Trackers that follow the run: trackio, tensorboard, wandb or another that accelerate knows, as one name or "
        "several; all for those that are installed. By default none.",
    )
    seed: int = _option(42, "Seed of the data order and of the search.")
    # For `EvoESAPConfig`. What it stands for is kept, not its name: other values may have been given next to it.
    preset: InitVar[str | None] = None

    @property
    def criterion_windows(self) -> int:
        """Windows on which a criterion is measured that runs the model for every expert."""
        return self.criterion_samples or math.ceil(_CRITERION_TOKENS / self.sequence_length)


# The name that the default of an argument leaves behind would look like a field, and its type is a plain one.
delattr(EvoESAPOptions, "preset")
EvoESAPOptions.__init__.__annotations__["preset"] = "str | None"
