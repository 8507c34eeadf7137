# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Norms and rotary embedding in their fast forms, and the laws of the whole forward on a GPU."""

from __future__ import annotations

import importlib
import warnings
from contextlib import ExitStack
from functools import partial
from threading import Lock
from types import MethodType

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.olmoe.modeling_olmoe import OlmoeRMSNorm

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.kernels.experts import fused_experts as experts
from optimum_evoesap.kernels.experts.fused_experts import norms_listener, runs_fused
from optimum_evoesap.kernels.forward import packed_attention
from optimum_evoesap.kernels.forward.fused_forward import fused_forward
from optimum_evoesap.kernels.forward.norms import find_rms_norm, replace_rms_norm
from optimum_evoesap.kernels.forward.packed_attention import attention_function, find_documents
from optimum_evoesap.kernels.forward.rotary import is_common_form, rotate
from optimum_evoesap.models.surgery import remove_experts
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.model_matrix import VOCABULARY, layers_of, make_model, random_kept, sparse_model_of, structure_of


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ON_GPU = pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
TOKENS = torch.randint(3, VOCABULARY - 6, (2, 24), generator=torch.Generator().manual_seed(0))


class GatedRMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(8)), 1e-6

    def forward(self, hidden, gate):
        return hidden * gate


class ScaledRMSNorm(GatedRMSNorm):
    def forward(self, hidden):
        return 1.1 * nn.functional.rms_norm(hidden, (8,), self.weight, self.eps)


@pytest.mark.parametrize("model_type", ["olmoe", "qwen3_next", "gemma4_text", "granitemoehybrid", "kimi_linear"])
def test_norms_of_models_are_found(model_type):
    model = make_model(model_type)
    norms = {module: find_rms_norm(module) for module in model.modules() if "RMSNorm" in type(module).__name__}
    found = {module: norm for module, norm in norms.items() if norm is not None}
    assert found and all("Gated" not in type(module).__name__ for module in found)
    for module, norm in found.items():
        hidden = 3 * torch.randn(4, module.weight.shape[0], device=module.weight.device)
        torch.testing.assert_close(norm(hidden), module(hidden), rtol=1e-4, atol=1e-5)


class GroupedRMSNorm(ScaledRMSNorm):
    """A norm of each half; with random numbers of one size both halves are alike."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(16384))

    def forward(self, hidden):
        halves = hidden.unflatten(-1, (2, -1))
        return self.weight * nn.functional.rms_norm(halves, halves.shape[-1:], None, self.eps).flatten(-2)


class ScaledInputRMSNorm(ScaledRMSNorm):
    """As in muse_spark: the weight comes before the norm; as long as it is one, nothing shows."""

    def forward(self, hidden):
        return nn.functional.rms_norm(hidden * self.weight, (8,), None, self.eps)


class OtherEpsilonRMSNorm(ScaledRMSNorm):
    def forward(self, hidden):
        return nn.functional.rms_norm(hidden, (8,), self.weight, 1e-5)


@pytest.mark.parametrize(
    "norm",
    [GatedRMSNorm(), ScaledRMSNorm(), GroupedRMSNorm(), ScaledInputRMSNorm(), OtherEpsilonRMSNorm(), nn.LayerNorm(8)],
    ids=lambda norm: type(norm).__name__,
)
def test_other_norms_stay(norm):
    assert find_rms_norm(norm) is None


@pytest.mark.parametrize("hooked", [False, True])
def test_a_norm_is_replaced_and_comes_back(hooked):
    """Also under a hook of accelerate's, as in a model over several devices, which has to stay."""
    norm, calls = OlmoeRMSNorm(8, eps=1e-5), []

    class Hook(ModelHook):
        def pre_forward(self, module, *args, **kwargs):
            calls.append(module)
            return args, kwargs

    if hooked:
        add_hook_to_module(norm, Hook())
        norm._hf_hook.lock = Lock()  # what a hook holds is not copied
    hidden, before = torch.randn(3, 8), dict(vars(norm))
    expected = norm(hidden)
    with ExitStack() as undo:
        replace_rms_norm(norm, undo)
        assert vars(norm).keys() - {"forward"} == before.keys() - {"forward"}
        slot = "_old_forward" if hooked else "forward"
        assert isinstance(vars(norm)[slot], partial) and len(calls) == hooked
        calls.clear()
        torch.testing.assert_close(norm(hidden), expected)
        assert len(calls) == hooked
    assert vars(norm) == before


@pytest.mark.parametrize("hooked", [False, True])
def test_a_patched_norm_stays(hooked):
    """Its owner counts on the patch, whatever it computes; also where a hook lies over it."""
    norm = OlmoeRMSNorm(8, eps=1e-5)
    norm.forward = MethodType(lambda self, hidden_states: OlmoeRMSNorm.forward(self, hidden_states), norm)
    if hooked:
        add_hook_to_module(norm, ModelHook())
    before = dict(vars(norm))
    with ExitStack() as undo:
        replace_rms_norm(norm, undo)
        assert vars(norm) == before


@pytest.mark.parametrize(
    "model_type,common", [("olmoe", True), ("qwen3_moe", True), ("gpt_oss", False), ("ernie4_5_moe", False)]
)
def test_the_common_rotary_form_is_told_from_others(model_type, common):
    module = importlib.import_module(f"transformers.models.{model_type}.modeling_{model_type}")
    assert is_common_form(module.apply_rotary_pos_emb) == common


@pytest.mark.parametrize("heads,head_size,cos_batch", [(1, 8, 1), (5, 48, 2), (32, 128, 2)])
def test_rotary_kernel(heads, head_size, cos_batch):
    pytest.importorskip("triton")
    generator = torch.Generator().manual_seed(0)
    # Heads and tokens lie as a projection leaves them.
    states = torch.randn(2, 6, heads, head_size, generator=generator).bfloat16().to(DEVICE).transpose(1, 2)
    cos, sin = (torch.randn(cos_batch, 6, head_size, generator=generator).bfloat16().to(DEVICE) for _ in range(2))
    found = rotate(states, cos, sin)
    exact, (cos, sin) = states.double(), (each.double()[:, None] for each in (cos, sin))
    first, second = exact.chunk(2, dim=-1)
    expected = exact * cos + torch.cat((-second, first), dim=-1) * sin
    assert found.stride() == states.stride()
    torch.testing.assert_close(found.double(), expected, rtol=1e-2, atol=1e-2)


def mask_of(lengths: list[list[int]], window: int | None = None) -> torch.Tensor:
    """What transformers makes for windows of documents of these lengths."""
    total = sum(lengths[0])
    mask = torch.zeros(len(lengths), 1, total, total, dtype=torch.bool)
    for row, documents in enumerate(lengths):
        start = 0
        for length in documents:
            mask[row, 0, start : start + length, start : start + length] = True
            start += length
    seen = torch.ones(total, total, dtype=torch.bool).tril()
    return mask & (seen if window is None else seen & seen.new_ones(total, total).triu(1 - window))


@pytest.mark.parametrize("lengths", [[[7]], [[3, 4], [7]], [[1, 1, 5], [2, 4, 1]]])
def test_documents_are_read_off_their_mask(lengths):
    documents = find_documents(mask_of(lengths))
    flat = torch.tensor([0, *(length for row in lengths for length in row)]).cumsum(0)
    assert documents.bounds.tolist() == flat.tolist() and documents.bounds.dtype == torch.int32
    assert documents.longest == max(length for row in lengths for length in row)


def test_other_masks_part_no_documents():
    windowed = mask_of([[7], [3, 4]], window=3)
    padded, both_ways, hole = (mask_of([[7], [3, 4]]) for _ in range(3))
    padded[0, 0, :, 5:] = False
    both_ways[1, 0, 3:, 3:] = True
    hole[0, 0, 6, 2] = False
    assert all(find_documents(mask) is None for mask in (windowed, padded, both_ways, hole))
    assert find_documents(mask_of([[7]])[..., :5]) is None
    assert find_documents(mask_of([[2, 2, 2, 1]], window=3)) is not None  # the window reaches beyond no document


@pytest.mark.parametrize("has_own", [False, True])
@pytest.mark.parametrize("is_nested", [False, True])
def test_the_table_of_attention_is_left_as_it_was(monkeypatch, has_own, is_nested):
    """By an exception, with a function of the user's own there or none."""

    def own(*args, **kwargs):
        raise NotImplementedError

    def ours(*args, **kwargs):
        raise NotImplementedError

    table = ALL_ATTENTION_FUNCTIONS._local_mapping
    if has_own:
        monkeypatch.setitem(table, "sdpa", own)
    before, seen = dict(table), ALL_ATTENTION_FUNCTIONS["sdpa"]
    with pytest.raises(KeyboardInterrupt), attention_function("sdpa", ours):
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is ours
        if is_nested:
            with attention_function("sdpa", own):
                assert ALL_ATTENTION_FUNCTIONS["sdpa"] is own
            assert ALL_ATTENTION_FUNCTIONS["sdpa"] is ours
        raise KeyboardInterrupt
    assert table == before and ALL_ATTENTION_FUNCTIONS["sdpa"] is seen


def test_a_listener_of_norms_leaves_no_trace():
    module = nn.Module()
    before = dict(vars(module))
    with norms_listener(module, lambda *_: None):
        outer = dict(vars(module))
        with norms_listener(module, lambda *_: None):
            assert vars(module) != outer
        assert vars(module) == outer != before
    assert vars(module) == before


@ON_GPU
def test_packed_attention_leaves_a_function_of_the_user(monkeypatch):
    model = make_model("olmoe").to("cuda", torch.bfloat16)
    own = ALL_ATTENTION_FUNCTIONS["sdpa"]
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._local_mapping, "sdpa", own)
    with fused_forward(model), fused_forward(model):
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is not own
    assert ALL_ATTENTION_FUNCTIONS._local_mapping["sdpa"] is own


@ON_GPU
@pytest.mark.parametrize("model_type", ["olmoe", "qwen3_moe"])
def test_packed_windows(model_type, caplog):
    """Several documents in a window, in the ways that transformers tells them apart."""
    model = make_model(model_type).to("cuda", torch.bfloat16)
    tokens, calls = TOKENS.cuda(), []
    positions = torch.cat((torch.arange(9), torch.arange(15)))[None].repeat(2, 1).cuda()
    attend = packed_attention._varlen_attention()
    with torch.no_grad():
        slow = model(tokens, position_ids=positions, use_cache=False).logits.float()
        with pytest.MonkeyPatch.context() as patch, fused_forward(model):
            patch.setattr(
                packed_attention, "_varlen_attention", lambda: lambda *a, **k: calls.append(1) or attend(*a, **k)
            )
            fast = model(tokens, position_ids=positions, use_cache=False).logits.float()
            alone = model(tokens[:, 9:], use_cache=False).logits.float()
    assert len(calls) == model.config.num_hidden_layers and "is not used" not in caplog.text
    error = (fast - slow).norm(dim=-1) / slow.norm(dim=-1)
    # Tiny models in bfloat16 differ by a few percent; a document that sees another one differs by all.
    assert error.median().item() < 0.1
    assert ((fast[:, 9:] - alone).norm(dim=-1) / alone.norm(dim=-1)).median().item() < 0.1


def test_on_the_cpu_nothing_changes():
    model = make_model("olmoe").cpu()
    before = model(TOKENS).logits
    with fused_forward(model):
        assert not any("forward" in vars(module) for module in model.modules())
        assert model.config._experts_implementation == "grouped_mm"
        assert torch.equal(model(TOKENS).logits, before)


@ON_GPU
@pytest.mark.parametrize("model_type", ["olmoe", "qwen3_moe", "gpt_oss", "deepseek_v3", "mixtral", "nemotron_h"])
def test_laws_of_the_fast_forward(model_type):
    model = make_model(model_type).to("cuda", torch.bfloat16)
    layers, tokens = layers_of(model), TOKENS.cuda()
    kept = random_kept(layers, seed=1)
    with torch.no_grad():
        slow = model(tokens).logits.float()
        with fused_forward(model):
            assert all(runs_fused(module) for layer in layers for module in layer.blocks[0].experts)
            fast = model(tokens).logits.float()
            scorer = FitnessScorer(model, [{"input_ids": tokens, "labels": tokens}])
            assert scorer.score().mean == pytest.approx(1.0, abs=1e-5)
            with VirtualSlice(layers, kept):
                virtual, score = model(tokens).logits, scorer.score().mean
            assert 0 < score < 1
        # A near tie in a router may fall the other way for some tokens.
        error = (fast - slow).norm(dim=-1) / slow.norm(dim=-1)
        assert error.median().item() < 0.1
        remove_experts(model, layers, structure_of(model), kept)
        with fused_forward(model):
            assert torch.equal(model(tokens).logits, virtual)


@ON_GPU
@pytest.mark.parametrize("model_type", ["olmoe", "gpt_oss", "deepseek_v3", "nemotron_h"])
def test_fused_statistics_are_those_of_the_hooks(model_type):
    model = make_model(model_type).to("cuda", torch.bfloat16)
    mask = torch.ones_like(TOKENS)
    mask[1, 20:] = 0
    batches = [{"input_ids": TOKENS.cuda(), "attention_mask": mask.cuda()}]
    expected = observe_experts(sparse_model_of(model), batches, progress=False)
    with fused_forward(model):
        found = observe_experts(sparse_model_of(model), batches, progress=False)
        again = observe_experts(sparse_model_of(model), batches, progress=False)
    for index, sums in expected.layers.items():
        other = found.layers[index]
        # Near ties of the router may fall the other way, and a tiny model in half precision has many.
        assert (sums.routed_tokens - other.routed_tokens).abs().sum() <= 0.1 * sums.routed_tokens.sum()
        same = sums.routed_tokens == other.routed_tokens
        for name in ("norm_sum", "weight_sum", "weighted_norm_sum"):
            mine, theirs = getattr(other, name), getattr(sums, name)
            torch.testing.assert_close(mine[same], theirs[same], rtol=0.1, atol=0.1)
            torch.testing.assert_close(mine.sum(), theirs.sum(), rtol=0.03, atol=0.1)
        assert torch.equal(again.layers[index].weighted_norm_sum, other.weighted_norm_sum)


@ON_GPU
def test_no_layer_waits_for_the_device():
    model = make_model("olmoe").to("cuda", torch.bfloat16)
    layers, tokens = layers_of(model), TOKENS.cuda()
    with fused_forward(model), VirtualSlice(layers, random_kept(layers, seed=1)):
        scorer = FitnessScorer(model, [{"input_ids": part, "labels": part} for part in tokens.split(1)])
        scorer.score()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                scorer.score()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [f"{each.filename}:{each.lineno}" for each in caught if "called a synchronizing" in str(each.message)]
    # One of ours, and one of transformers' in each of the two batches, which asks whether they hold documents.
    assert len(waits) <= 3, waits


@ON_GPU
def test_pruning_is_fast_and_gives_the_model_back(monkeypatch):
    """The stages run fused; the pruned model runs as it did, with hooks and functions of its own."""
    from transformers.models.olmoe import modeling_olmoe

    calls, apply = [], modeling_olmoe.apply_rotary_pos_emb
    fused = experts.fused_experts
    monkeypatch.setattr(experts, "fused_experts", lambda *a, **k: calls.append(stage) or fused(*a, **k))
    model = make_model("olmoe").to("cuda", torch.bfloat16)
    options = {"sequence_length": 24, "population_size": 4, "num_elites": 1, "generations": 2, "search_samples": 4}
    pruner = MoEPruner(model, EvoESAPConfig(sparsity=0.25, calibration_samples=4, **options))
    data = [{"input_ids": row} for row in TOKENS.repeat(4, 1)]
    stage = "calibrate"
    pruner.calibrate(data)
    pruner.rank()
    stage = "search"
    pruner.search(data)
    assert {"calibrate", "search"} == set(calls)
    assert not any("forward" in vars(module) for module in model.modules())
    assert model.config._experts_implementation == "grouped_mm"
    assert modeling_olmoe.apply_rotary_pos_emb is apply
    assert "sdpa" not in ALL_ATTENTION_FUNCTIONS._local_mapping


@ON_GPU
@pytest.mark.parametrize("implementation", ["eager", "batched_mm"])
def test_experts_that_the_user_chose_stay(implementation):
    model = make_model("olmoe").to("cuda", torch.bfloat16)
    model.set_experts_implementation(implementation)
    with fused_forward(model):
        assert model.config._experts_implementation == implementation


@ON_GPU
def test_leaving_by_an_exception_restores_everything():
    from transformers.models.olmoe import modeling_olmoe

    model, apply = make_model("olmoe").to("cuda", torch.bfloat16), modeling_olmoe.apply_rotary_pos_emb
    with pytest.raises(KeyboardInterrupt), fused_forward(model):
        assert any("forward" in vars(module) for module in model.modules())
        assert modeling_olmoe.apply_rotary_pos_emb is not apply
        raise KeyboardInterrupt
    assert modeling_olmoe.apply_rotary_pos_emb is apply
    assert not any("forward" in vars(module) for module in model.modules())
    assert model.config._experts_implementation == "grouped_mm"


@ON_GPU
def test_gradients_of_the_fused_experts_fall_back():
    model = make_model("olmoe").to("cuda", torch.bfloat16)
    model.set_experts_implementation("evoesap")
    model(TOKENS.cuda()).logits.float().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("factor,is_used", [(1.0, True), (1.1, False)])
def test_attention_within_documents_is_compared_before_it_is_used(factor, is_used, monkeypatch, caplog):
    """torch's function needs a GPU; here a loop over documents stands for it, right or wrong by a factor."""

    def attend(query, key, value, bounds, _, longest, __, scale, window_size):
        assert longest == int(bounds.diff().max()) and window_size == (-1, 0)
        calls.append(1)
        parts = [slice(start, end) for start, end in zip(bounds.tolist(), bounds.tolist()[1:])]
        inputs = ([each[part].transpose(0, 1)[None] for each in (query, key, value)] for part in parts)
        outputs = [nn.functional.scaled_dot_product_attention(*each, is_causal=True, scale=scale) for each in inputs]
        return factor * torch.cat([each[0].transpose(0, 1) for each in outputs])

    calls: list[int] = []
    monkeypatch.setattr(packed_attention, "_varlen_attention", lambda: attend)
    monkeypatch.setattr(packed_attention, "_fits", lambda *given: True)
    masked = ALL_ATTENTION_FUNCTIONS["sdpa"]
    within = packed_attention._without_mask(masked)
    module = nn.Module()
    module.num_key_value_groups = 2
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(2, heads, 7, 8, generator=generator) for heads in (4, 2, 2)]
    mask = mask_of([[3, 4], [7]])
    expected, _ = masked(module, *states, mask, scaling=0.3)
    for _ in range(2):
        found, _ = within(module, *states, mask, scaling=0.3)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert len(calls) == (2 if is_used else 1)
    assert ("is not used" in caplog.text) == (not is_used)
    windowed = mask_of([[7], [3, 4]], window=3)
    torch.testing.assert_close(within(module, *states, windowed)[0], masked(module, *states, windowed)[0])
    assert len(calls) == (2 if is_used else 1)
