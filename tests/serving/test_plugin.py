# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The parts of the plugin that need no vLLM: reads of counts, hooks, refused options, and how light it is."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from types import ModuleType, SimpleNamespace

import pytest
from transformers.integrations.heterogeneity import AmbiguousGlobalPerLayerAttributeError

from optimum_evoesap.serving import layer_counts, vllm_plugin
from optimum_evoesap.serving.hooks import Hooks
from optimum_evoesap.serving.layer_counts import ExpertCounts, answering_reads, building_layer, read_counts
from optimum_evoesap.serving.vllm_checks import check_options

from ..model_matrix import make_config


def config_with(overrides):
    config = make_config("olmoe")
    config.per_layer_config = overrides
    return config


@pytest.fixture
def read():
    """Reads of any config, as in a process of vLLM."""
    return answering_reads(type(make_config("olmoe")).__getattribute__, check=lambda: None)


@pytest.mark.parametrize("name", ["num_experts", "num_local_experts"])
def test_reads(read, name):
    attribute = make_config("olmoe").attribute_map.get("num_experts", "num_experts")
    config = config_with({0: {name: 3}, 2: {name: 5}})
    assert read_counts(config) == ExpertCounts(8, {0: 3, 2: 5})
    assert read(config, attribute) == 8
    for layer, count in enumerate((3, 8, 5)):
        with building_layer(layer):
            assert read(config, attribute) == count
    assert read(config, "num_experts_per_tok") == 2 and read(config, attribute) == 8


def test_a_count_above_the_config_wide_one_is_the_largest(read):
    config = config_with({1: {"num_experts": 12}})
    assert read(config, next(iter(config.per_layer_attributes))) == 12


def test_other_reads_are_as_they_were(read):
    assert read(make_config("olmoe"), "num_experts_per_tok") == 2 and read_counts(make_config("olmoe")) is None
    config = config_with({0: {"clip_qkv": 1.0}})
    assert read_counts(config) is None
    with building_layer(0), pytest.raises(AmbiguousGlobalPerLayerAttributeError):
        read(config, "clip_qkv")


def test_numbers_of_a_token_are_none_of_ours(read):
    config = config_with({0: {"num_experts_per_tok": 1}})
    assert read_counts(config) is None
    with building_layer(0), pytest.raises(AmbiguousGlobalPerLayerAttributeError):
        read(config, "num_experts_per_tok")


def test_a_hook_that_is_missing_stops_reads_and_options(monkeypatch):
    """A vLLM of other internals: told with its version, before a model is built."""
    fake = ModuleType("vllm")
    fake.__version__ = "9.9"
    monkeypatch.setitem(sys.modules, "vllm", fake)
    monkeypatch.setattr(vllm_plugin._hooks, "missing", lambda: ["vllm.some.function"])
    config = config_with({0: {"num_experts": 3}})
    read = answering_reads(type(config).__getattribute__, check=vllm_plugin._check_hooks)
    with pytest.raises(RuntimeError, match="vLLM 9.9 .*no vllm.some.function.*knows vLLM 0.32.0"):
        read(config, next(iter(config.per_layer_attributes)))
    verify = vllm_plugin._refusing(lambda self, parallel_config: None)
    with pytest.raises(RuntimeError, match="no vllm.some.function"):
        verify(SimpleNamespace(hf_text_config=config), None)
    verify(SimpleNamespace(hf_text_config=make_config("olmoe")), None)  # other models are none of its business


def test_layers_of_another_vllm_are_built_all_the_same():
    def make_layers(count, layer_fn, prefix=""):
        return [layer_fn(prefix=f"{prefix}.{index}") for index in range(count)]

    seen = []
    make = vllm_plugin._making_layers(make_layers)
    make(2, lambda prefix: seen.append(layer_counts._under_construction.layer), prefix="model.layers")
    assert seen == [0, 1] and layer_counts._under_construction.layer is None
    assert make(1, lambda prefix: prefix, prefix="model_layers") == ["model_layers.0"]
    named_otherwise = vllm_plugin._making_layers(lambda count, build: [build(each) for each in range(count)])
    assert named_otherwise(2, str) == ["0", "1"]
    with_more = vllm_plugin._making_layers(lambda layer_fn: [layer_fn("layer_0", 1)])
    assert with_more(lambda *given: given) == [("layer_0", 1)]


def test_layers_in_layers_restore_the_outer_one():
    with building_layer(1):
        with building_layer(2):
            pass
        assert layer_counts._under_construction.layer == 1


def test_several_numbers_of_experts_are_refused():
    config = make_config("olmoe")
    config.moe_num_experts = 2
    config.per_layer_config = {0: {"num_experts": 3, "moe_num_experts": 1}}
    with pytest.raises(ValueError, match="only the number of routed experts can differ"):
        read_counts(config)


PARALLEL = {"enable_expert_parallel": False, "enable_eplb": False, "enable_elastic_ep": False}


@pytest.mark.parametrize(
    "message,model_type,quantization,parallel",
    [
        ("expert parallelism", "olmoe", None, {"enable_expert_parallel": True}),
        ("expert parallelism .* and expert load balancing", "olmoe", None, dict.fromkeys(PARALLEL, True)),
        ("GPT-OSS with quantized experts", "gpt_oss", "mxfp4", {}),
    ],
)
def test_options(message, model_type, quantization, parallel):
    text_config = SimpleNamespace(model_type=model_type)
    model_config = SimpleNamespace(hf_text_config=text_config, quantization=quantization, model="DIR")
    counts = ExpertCounts(8, {0: 3})
    with pytest.raises(ValueError, match=f"{message}.* cannot be used with DIR: .*from 3 on"):
        check_options(counts, model_config, SimpleNamespace(**(PARALLEL | parallel)))
    model_config.quantization = None
    check_options(counts, model_config, SimpleNamespace(**PARALLEL))


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A package `host_package` whose module `user` imports a function of its module `maker`."""
    package = tmp_path / "host_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "maker.py").write_text("def make():\n    return 1\n")
    (package / "user.py").write_text("from .maker import make\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield Hooks("host_package")
    for name in [name for name in sys.modules if name.startswith("host_package")]:
        del sys.modules[name]


@pytest.mark.parametrize("first", ["host_package", "host_package.maker", "host_package.user"])
def test_a_hook_holds_whatever_was_imported_before(host, first):
    import_module(first)
    host.add("host_package.maker", "make", lambda make: lambda: make() + 1)
    assert import_module("host_package.user").make() == 2 and import_module("host_package.maker").make() == 2
    assert host.missing() == []


def test_a_hook_for_where_a_function_is_imported_holds_there_only(host):
    import_module("host_package.user")
    host.add("host_package.user", "make", lambda make: lambda: make() + 1)
    assert import_module("host_package.user").make() == 2 and import_module("host_package.maker").make() == 1


def test_missing_hooks_are_told(host):
    import_module("host_package")
    for place in (("host_package.gone", "make"), ("host_package.maker", "gone"), ("host_package.user", "Gone.make")):
        host.add(*place, lambda original: original)
    assert host.missing() == ["host_package.gone.make"]  # the others are known when their modules are imported
    import_module("host_package.user")
    others = ["host_package.maker.gone", "host_package.user.Gone.make"]
    assert sorted(host.missing()) == ["host_package.gone.make", *others]


def test_the_plugin_is_light():
    code = """
import sys
from optimum_evoesap.serving.vllm_plugin import register
register()
register()
assert not {"torch", "transformers", "vllm"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
