# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Files that this library writes and reads."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import save

from optimum_evoesap import EvoESAPConfig, PruningResult
from optimum_evoesap.calibration.statistics import ExpertStatistics, LayerStatistics
from optimum_evoesap.reports.applied import configuration_of
from optimum_evoesap.reports.front import Front
from optimum_evoesap.reports.front_file import FRONT_NAME
from optimum_evoesap.reports.ranking import RANKING_NAME, Ranking
from optimum_evoesap.reports.result import RESULT_NAME
from optimum_evoesap.reports.summary import summarize
from tests.reports.results import GUARDED, SEARCHED, UNIFORM
from tests.reports.test_front import make_front

from .mutations import damaged, hostile_json
from .registry import kind, written


def _json_of(result: PruningResult) -> dict[str, Any]:
    values = json.loads(json.dumps(dataclasses.asdict(result)))
    del values["loaded_from"]
    return values


def _same(first: Any, second: Any) -> None:
    texts = [json.dumps(each, sort_keys=True, default=repr) for each in (first, second)]
    assert texts[0] == texts[1], "what is written again is not what was read"


_PROTECTED = dataclasses.replace(SEARCHED, protected_experts={1: [2]}, criterion_scores={"reap": 0.5})
_APPLIED = dataclasses.replace(
    UNIFORM,
    applied_from={
        "result": "x", "revision": None, "base_model": None, "base_weights": "0", "dtype": "float32", "versions": {},
    },
    domains={"code": {"best": 0.5, "uniform": 0.25, "interval": [0.0, 0.5]}},
    history=[{"generation": 0, "best": 0.5, "allocation": [1, 2, 3]}],
)  # fmt: skip


_RESULTS = [_json_of(each) for each in (SEARCHED, GUARDED, UNIFORM, _PROTECTED, _APPLIED)]


@kind("result", lambda random: hostile_json(random, _RESULTS), rf"{RESULT_NAME}.* is (not|larger|no file)")
def read_result(content: bytes, folder: Path) -> None:
    """A result is read, shown, made a configuration of, and written again."""
    result = PruningResult.load(written(content, folder, RESULT_NAME))
    repr(result), summarize(result, "out"), configuration_of(result, EvoESAPConfig())
    result.save(folder)
    _same(dataclasses.asdict(PruningResult.load(folder)), dataclasses.asdict(result))


_CONFIGS = [
    EvoESAPConfig(),
    EvoESAPConfig(sparsity=0.5, columns={"text": "body"}, report_to=["trackio"], max_minutes=5.0),
    EvoESAPConfig(allocation={2: 4, 11: 1}, keep={3: [1, 5]}),
    EvoESAPConfig(target_size="24GB", goal="worst"),
]
_CONFIG_VALUES = [json.loads(each.to_json_string()) for each in _CONFIGS]


@kind("config", lambda random: hostile_json(random, _CONFIG_VALUES), r"evoesap_config.json|EvoESAPConfig|preset")
def read_config(content: bytes, folder: Path) -> None:
    """A configuration is read, changed and written again."""
    name = EvoESAPConfig.CONFIG_NAME
    try:
        config = EvoESAPConfig.from_pretrained(written(content, folder, name))
    except ValueError as error:
        assert str(folder) in str(error), f"the message does not name the file: {error}"
        raise
    repr(config), config.replace(seed=3)
    config.save_pretrained(folder)
    _same(EvoESAPConfig.from_pretrained(folder).to_dict(), config.to_dict())


@cache
def _ranking() -> dict[str, Any]:
    def sums(experts: int) -> dict[str, list]:
        zeros = LayerStatistics.zeros(experts)
        return {each.name: getattr(zeros, each.name).tolist() for each in dataclasses.fields(zeros)}

    layers = {str(layer): {"order": [2, 0, 1], "scores": [0.5, 1.0, 0.1], "statistics": sums(3)} for layer in (0, 4)}
    texts = dict.fromkeys(["criterion", "base_model", "base_weights", "dtype", "model_type"], "x")
    return texts | {"data": {"tokens": 5}, "versions": {"torch": "2.13"}, "num_tokens": 5, "layers": layers}


@kind("ranking", lambda random: hostile_json(random, [_ranking()]), rf"{RANKING_NAME}.* is (not|larger|no file)")
def read_ranking(content: bytes, folder: Path) -> None:
    """A ranking is read and written again, and its statistics cover what its order does."""
    ranking = Ranking.from_pretrained(written(content, folder, RANKING_NAME))
    ranking.statistics.check_layers({layer: len(order) for layer, order in ranking.order.items()})
    repr(ranking), repr(ranking.statistics)
    before = ranking.save(folder).read_text()
    _same(Ranking.from_pretrained(folder).save(folder).read_text(), before)


def _statistics_bytes(random: Random) -> bytes:
    statistics = ExpertStatistics({0: LayerStatistics.zeros(3), 4: LayerStatistics.zeros(2)}, 7)
    tensors, metadata = statistics.to_tensors()
    if random.randint(0, 3) == 0:
        return damaged(random, save(tensors, metadata))
    double = torch.float64
    odd = [None, torch.zeros(3), torch.zeros(3, dtype=torch.int8), torch.full((3,), float("nan"), dtype=double)]
    odd += [torch.zeros(shape, dtype=double) for shape in ((3,), (0,), (), (3, 1), (9,))]
    names = [*tensors, "x", "0.x", "9.norm_sum", "-1.norm_sum", "00.norm_sum", "norm_sum", ".", "4.norm_sum.x"]
    texts = [None, "", "7", "-7", "7.0", "9" * 5000, "x", "0,4", "4,0", "0", "\n"]
    given = tensors | {random.choice(names): random.choice(odd) for _ in range(random.randint(0, 3))}
    more = {random.choice(["num_tokens", "layers", "x"]): random.choice(texts) for _ in range(random.randint(0, 2))}
    kept = {name: tensor.clone() for name, tensor in given.items() if tensor is not None}
    return save(kept, {name: text for name, text in (metadata | more).items() if text is not None})


@kind("statistics", _statistics_bytes, r"s\.safetensors (holds no statistics|is no file)")
def read_statistics(content: bytes, folder: Path) -> None:
    """Statistics are read and written again."""
    statistics = ExpertStatistics.load(written(content, folder, "s.safetensors") / "s.safetensors")
    repr(statistics)
    statistics.save(folder / "s.safetensors")
    again = ExpertStatistics.load(folder / "s.safetensors")
    _same(again.to_tensors(), statistics.to_tensors())


@cache
def _front() -> dict[str, Any]:
    return json.loads(json.dumps(make_front(0.25, 0.5)._to_json()))


@kind("front", lambda random: hostile_json(random, [_front()]), rf"{FRONT_NAME}|{RESULT_NAME}")
def read_front(content: bytes, folder: Path) -> None:
    """A front is read, with its results beside it, and shown."""
    make_front(0.25, 0.5).save(folder)
    front = Front.load(written(content, folder, FRONT_NAME))
    front.table(), repr(front)
    assert all(0 < sparsity < 1 for sparsity in front)
