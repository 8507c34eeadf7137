# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The whole way on a GPU, and on a model that accelerate spreads over two of them."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.calibration.measured import Measurement
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.calibration.reconstruction import reconstruction
from optimum_evoesap.fitness import scorer
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.kernels.forward.fused_forward import fused_forward
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.model_matrix import ROWS, VOCABULARY, layers_of, make_model, random_kept, sparse_model_of


TWO_GPUS = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
OPTIONS = {
    "sparsity": 0.5,
    "population_size": 8,
    "num_elites": 2,
    "generations": 3,
    "sequence_length": 32,
    "calibration_samples": 8,
    "search_samples": 8,
    "batch_size": 4,
}


def windows(seed):
    generator = torch.Generator().manual_seed(seed)
    return [{"input_ids": torch.randint(3, VOCABULARY - 6, (32,), generator=generator)} for _ in range(16)]


def prune(model, folder):
    pruner = MoEPruner(model, EvoESAPConfig(**OPTIONS))
    pruner.prune(folder, windows(0), windows(1))
    return pruner


def whole_way(model_type, folder, **placement):
    """Prune one model twice, on the CPU and where it is placed; the statistics and the scores must agree."""
    source = folder / "model"
    make_model(model_type).cpu().save_pretrained(source)
    model_class = ROWS[model_type].load_class()
    on_cpu = prune(model_class.from_pretrained(source), folder / "cpu")
    placed = prune(model_class.from_pretrained(source, **placement), folder / "placed")
    for layer, sums in on_cpu.statistics.layers.items():
        other = placed.statistics.layers[layer]
        assert (sums.routed_tokens - other.routed_tokens).abs().sum() <= 4  # near ties may fall the other way
        torch.testing.assert_close(sums.weight_sum, other.weight_sum, rtol=1e-2, atol=1e-1)
    assert placed.scores["uniform"] == pytest.approx(on_cpu.scores["uniform"], abs=2e-2)
    tokens = windows(2)[0]["input_ids"][None].to(placed.model.device)
    reloaded = model_class.from_pretrained(folder / "placed", **placement)
    with torch.no_grad():
        torch.testing.assert_close(reloaded(input_ids=tokens).logits, placed.model(input_ids=tokens).logits)
    return placed


@pytest.mark.skipif(torch.cuda.device_count() < 1, reason="needs a GPU")
@pytest.mark.parametrize("model_type", ["olmoe", "deepseek_v3", "llama4_text", "jetmoe", "gpt_oss"])
def test_the_whole_way_on_a_gpu(model_type, tmp_path):
    placed = whole_way(model_type, tmp_path, device_map="cuda:0")
    assert placed.model.device.type == "cuda"


def over_two_gpus(model_type):
    """A device map: the first decoder layer on the first GPU, the others on the second."""
    places = {"model.embed_tokens": 0, "model.norm": 1, "lm_head": 1, "model.rotary_emb": 0}
    model = make_model(model_type)
    layers = {f"model.layers.{i}": min(i, 1) for i in range(len(model.model.layers))}
    names = {name for name, _ in model.named_modules()}
    return {name: place for name, place in (places | layers).items() if name in names}


@TWO_GPUS
@pytest.mark.parametrize("model_type", ["olmoe", "deepseek_v3", "listed_moe"])
def test_a_model_spread_over_two_gpus(model_type, tmp_path):
    placed = whole_way(model_type, tmp_path, device_map=over_two_gpus(model_type))
    assert len({parameter.device for parameter in placed.model.parameters()}) == 2


@TWO_GPUS
@pytest.mark.parametrize("model_type", ["olmoe", "deepseek_v3", "gpt_oss"])
def test_two_gpus_give_what_one_gives(model_type, tmp_path):
    """In half precision, where the kernels run."""
    make_model(model_type).cpu().save_pretrained(tmp_path / "model")
    load = partial(ROWS[model_type].load_class().from_pretrained, tmp_path / "model", dtype=torch.bfloat16)
    one = prune(load(device_map="cuda:0"), tmp_path / "one")
    two = prune(load(device_map=over_two_gpus(model_type)), tmp_path / "two")
    assert {parameter.device.index for parameter in two.model.parameters()} == {0, 1}
    assert two.result.kept_experts == one.result.kept_experts and two.scores == one.scores
    for layer, sums in one.statistics.layers.items():
        assert torch.equal(sums.weight_sum, two.statistics.layers[layer].weight_sum)


@pytest.mark.skipif(torch.cuda.device_count() < 1, reason="needs a GPU")
def test_fewer_windows_at_once_where_memory_is_short(caplog):
    """A real out-of-memory: the process may take a little more than the model only."""
    model = make_model("olmoe").to("cuda")
    tokens = torch.randint(3, VOCABULARY - 6, (64, 512), generator=torch.Generator().manual_seed(0)).cuda()
    windows = [{"input_ids": tokens, "labels": tokens}]
    expected = observe_experts(sparse_model_of(model), windows, progress=False)
    score = FitnessScorer(model, windows).score().mean
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 40e6) / total)
    try:
        found = observe_experts(sparse_model_of(model), windows, progress=False)
        assert FitnessScorer(model, windows).score().mean == pytest.approx(score, abs=1e-5)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "do not fit into the memory" in caplog.text
    for index, sums in expected.layers.items():
        torch.testing.assert_close(found.layers[index].weight_sum, sums.weight_sum, rtol=1e-3, atol=1e-1)


@pytest.mark.skipif(torch.cuda.device_count() < 1, reason="needs a GPU")
def test_a_teacher_that_waits_on_the_host(monkeypatch):
    model = make_model("olmoe").to("cuda")
    tokens = torch.randint(3, VOCABULARY - 6, (4, 64), generator=torch.Generator().manual_seed(0)).cuda()
    batches = [{"input_ids": part, "labels": part} for part in tokens.split(2)]
    layers = layers_of(model)
    kept = random_kept(layers, seed=0)
    on_device = FitnessScorer(model, batches)
    monkeypatch.setattr(scorer, "DEVICE_BYTES", 0)
    on_host = FitnessScorer(model, batches)
    assert all(batch.hidden.is_pinned() for batch in on_host.teacher)
    with VirtualSlice(layers, kept):
        assert on_host.score() == on_device.score()


@pytest.mark.skipif(torch.cuda.device_count() < 1, reason="needs a GPU")
@pytest.mark.parametrize("model_type", ["olmoe", "mixtral", "deepseek_v3", "gemma4_text", "diffusion_gemma"])
def test_reconstruction_on_a_gpu(model_type):
    """In half precision, where the kernels run: the experts' changes are those of the CPU in float32."""
    found = {}
    for device, dtype in (("cpu", torch.float32), ("cuda", torch.bfloat16)):
        model = make_model(model_type, dtype).to(device)
        sparse_model = sparse_model_of(model)
        batches = [{"input_ids": torch.stack([each["input_ids"] for each in windows(0)[:8]]).to(device)}]
        with fused_forward(model):
            statistics = observe_experts(sparse_model, batches, progress=False)
            measurement = Measurement(sparse_model, batches, statistics, progress=False)
            found[device] = dict(reconstruction(measurement, sparse_model.indices))
            again = dict(reconstruction(measurement, sparse_model.indices[-1:]))
        assert all(torch.equal(found[device][index], scores) for index, scores in again.items())
    if model_type == "diffusion_gemma":
        return  # its random tokens are others on another device
    for index, scores in found["cpu"].items():
        torch.testing.assert_close(found["cuda"][index], scores, rtol=0.1, atol=0.1 * float(scores.max()))
