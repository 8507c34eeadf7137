# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The key of a run: every weight and the configuration."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.run.fingerprint import fingerprint, weights_digest
from tests.model_matrix import make_model
from tests.run.broken_off import break_off, double, finish


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "model.layers.1.self_attn.q_proj.weight",
        "model.layers.2.mlp.experts.down_proj",
        "lm_head.weight",
    ],
)
def test_the_state_of_other_weights_is_not_used(name, tmp_path, caplog):
    break_off(tmp_path / "out")
    result = finish(tmp_path / "out", double(name))
    assert caplog.text.count("that work is done again") == 1, "once, whatever there is"
    assert result == finish(tmp_path / "clean", double(name))


def test_the_digest_sees_any_changed_value_and_order():
    model = make_model("olmoe")
    digest = weights_digest(model)
    assert weights_digest(make_model("olmoe")) == digest
    for tensor in model.state_dict().values():
        flat = tensor.view(-1)
        for place in (0, len(flat) // 3, -1):
            before = flat[place].clone()
            flat[place] = torch.nextafter(before, before + 1)
            assert weights_digest(model) != digest
            flat[place] = before
    experts = model.model.layers[0].mlp.experts.gate_up_proj.data
    experts[[2, 3]] = experts[[3, 2]]
    assert weights_digest(model) != digest
    experts[[2, 3]] = experts[[3, 2]]
    assert weights_digest(model) == digest


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.bool, torch.int8])
def test_the_digest_reads_every_dtype_and_size(dtype):
    for shape in [(), (0, 3), (1,), (3, 5), (2**18 + 3,)]:
        module = torch.nn.Module()
        module.register_buffer("values", torch.zeros(shape, dtype=dtype))
        digest = weights_digest(module)
        module.values = torch.zeros(shape, dtype=dtype)
        assert weights_digest(module) == digest
        if module.values.numel():
            module.values.view(-1)[-1:] = 1
            assert weights_digest(module) != digest


def test_the_digest_of_views_shared_and_absent_values():
    module, plain, absent = torch.nn.Module(), torch.nn.Module(), torch.nn.Module()
    whole = torch.arange(101, dtype=torch.int8)
    module.values = torch.nn.Buffer(whole[1:97])
    plain.values = torch.nn.Buffer(whole[1:97].clone())
    assert weights_digest(module) == weights_digest(plain)
    module.values = torch.nn.Buffer(whole[:100].view(10, 10).T)
    plain.values = torch.nn.Buffer(module.values.contiguous())
    assert weights_digest(module) == weights_digest(plain)
    plain.again = plain.values
    assert weights_digest(module) != weights_digest(plain)
    absent.values = torch.nn.Buffer(torch.zeros(10, 10, dtype=torch.int8, device="meta"))
    assert weights_digest(absent) == weights_digest(absent) != weights_digest(module)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_digest_is_the_same_on_a_gpu():
    model = make_model("olmoe").bfloat16()
    model.large = torch.nn.Buffer(torch.randn(2**22 + 3))
    digest = weights_digest(model)
    assert weights_digest(model.cuda()) == digest


def test_the_key_follows_the_configuration():
    model = make_model("olmoe")
    key = fingerprint(model, "data")
    assert fingerprint(model, "data", weights=weights_digest(model)) == key != fingerprint(model, "other")
    model.config.rms_norm_eps *= 2
    assert fingerprint(model, "data") != key
