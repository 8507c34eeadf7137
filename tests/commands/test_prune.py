# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`optimum-cli evoesap`: options, precedence, output, errors, and how light its help is."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, OlmoeConfig, OlmoeForCausalLM
from transformers import PreTrainedTokenizerFast as FastTokenizer

from optimum.commands import optimum_cli
from optimum_evoesap import EvoESAPConfig, PruningResult
from optimum_evoesap.commands.arguments import given_options, parse_allocation, parse_columns
from optimum_evoesap.commands.prune import PruneCommand, make_config
from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.reports.inspection import inspect_model
from optimum_evoesap.reports.summary import summarize
from tests.hub_server import TOKEN, HubServer
from tests.model_matrix import make_model


LAYERS, EXPERTS, TOP_K, HIDDEN, EXPERT_WIDTH, VOCABULARY = 3, 8, 2, 32, 24, 300
SENTENCES = [f"The expert number {i} of the layer reads token {i * i} and answers {i % 7}." for i in range(60)]
FAST = [
    "--sequence-length", "16", "--calibration-samples", "4", "--search-samples", "4", "--batch-size", "4",
    "--population-size", "4", "--num-elites", "1", "--generations", "2",
]  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny random OLMoE with a tokenizer."""
    torch.manual_seed(0)
    config = OlmoeConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=EXPERT_WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_experts=EXPERTS,
        num_experts_per_tok=TOP_K,
        initializer_range=0.4,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    folder = tmp_path_factory.mktemp("model")
    OlmoeForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    FastTokenizer(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A local jsonl."""
    path = tmp_path_factory.mktemp("data") / "text.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in SENTENCES), encoding="utf-8")
    return path


@pytest.fixture
def cli(monkeypatch, capsys):
    """Runs `optimum-cli evoesap ...` in this process; gives the exit code and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["optimum-cli", "evoesap", *map(str, arguments)])
        code = 0
        try:
            optimum_cli.main()
        except SystemExit as stop:
            code = stop.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def parse(*arguments):
    parser = argparse.ArgumentParser()
    PruneCommand.parse_args(parser)
    return parser.parse_args(["-m", "model", "-o", "out", *arguments])


def data_options(path):
    return ["--calibration-dataset", path, "--search-dataset", path]


def stored_bytes(folder):
    with safe_open(folder / "model.safetensors", "pt") as weights:
        return sum(weights.get_tensor(name).nbytes for name in weights.keys())


def test_prune_writes_a_checkpoint_that_loads(cli, checkpoint, data, tmp_path):
    out = tmp_path / "pruned"
    code, printed, _ = cli(
        "prune", "-m", checkpoint, "-o", out, "--sparsity", "0.5", *FAST, *data_options(data), "--device-map", "none"
    )
    assert code == 0
    config, result = EvoESAPConfig.from_pretrained(out), PruningResult.load(out)
    assert (config.sparsity, config.criterion, config.generations) == (0.5, "reap", 2)
    assert result.budget == LAYERS * EXPERTS // 2
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= {path.name for path in out.iterdir()}
    model = AutoModelForCausalLM.from_pretrained(out, dtype="auto")
    assert model.dtype == torch.bfloat16
    kept = [layer.mlp.experts.num_experts for layer in model.model.layers]
    assert kept == [EXPERTS - removed for removed in result.allocation]
    assert summarize(result, out) in printed


@pytest.mark.parametrize("option", [[], ["--remote-code"]])
def test_prune_adds_code_when_asked_to(option, cli, checkpoint, data, tmp_path):
    given = ["--allocation", "1,2,3", "--calibration-dataset", data, *FAST, *option]
    code, _, error = cli("prune", "-m", checkpoint, "-o", tmp_path / "out", *given)
    assert code == 0, error
    assert (tmp_path / "out" / "modeling_evoesap.py").exists() == bool(option)


def test_prune_as_its_own_process_and_push(checkpoint, data, tmp_path):
    out = tmp_path / "pruned"
    command = [sys.executable, "-m", "optimum.commands.optimum_cli", "evoesap", "prune", "-m", checkpoint, "-o", out]
    command += ["--allocation", "1,2,3", *FAST, *data_options(data)]
    command += ["--push-to-hub", "--hub-model-id", "tester/pruned", "--hub-revision", "half", "--private"]
    command += ["--commit-message", "Half of it", "--token", TOKEN]
    with HubServer() as hub:
        environment = hub.environment(tmp_path / "home", token=None)
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == 0, done.stderr
        assert [commit.message for commit in hub.pushed_commits("tester/pruned", "half")] == ["Half of it"]
        assert {"config.json", "model.safetensors", "README.md"} <= hub.files("tester/pruned", "half").keys()
    assert "Saved in" in done.stdout and "There were no search data" in done.stdout
    assert PruningResult.load(out).allocation == [1, 2, 3]
    assert [layer.num_experts for layer in inspect_model(out).layers] == [7, 6, 5]
    assert inspect_model(out).size_in_bytes == stored_bytes(out)


def test_options_override_the_configuration_file(tmp_path):
    EvoESAPConfig(sparsity=0.5, criterion="ean", seed=7, packing=False, min_experts=3).save_pretrained(tmp_path)
    for path in (tmp_path, tmp_path / "evoesap_config.json"):
        config = make_config(parse("-c", str(path), "--criterion", "seer", "--packing", "--min-experts", "none"))
        assert (config.sparsity, config.criterion, config.seed) == (0.5, "seer", 7)
        assert config.packing is True and config.min_experts is None


def test_a_configuration_whose_data_were_given_in_memory_says_which_to_give(cli, tmp_path):
    EvoESAPConfig(calibration_dataset=None, search_dataset=None).save_pretrained(tmp_path)
    out = tmp_path / "out"
    code, _, error = cli("prune", "-m", "nothing/there", "-o", out, "-c", tmp_path)
    assert code == 2 and "give --calibration-dataset and --search-dataset" in error and not out.exists()
    code, _, error = cli("prune", "-m", "nothing/there", "-o", out, "-c", tmp_path, "--allocation", "uniform")
    assert code == 2 and "give --calibration-dataset." in error
    given = ["--calibration-dataset", "a/b", "--search-dataset", "c/d"]
    assert make_config(parse("-c", str(tmp_path), *given)).search_dataset == "c/d"


def test_every_field_is_an_option_under_both_spellings():
    values = {"allocation": "uniform", "columns": "text=body"}
    kinds = {int: ("5", 5), float: ("0.5", 0.5), str: ("esap", "esap")}
    for field in dataclasses.fields(EvoESAPOptions):
        if field.name == "packing":
            assert given_options(parse("--packing")) == {"packing": True}
            assert given_options(parse("--no-packing")) == {"packing": False}
            continue
        kind = next((each for each in (int, float) if field.type.startswith(each.__name__)), str)
        text, value = kinds[kind]
        text = values.get(field.name, text)
        value = {"allocation": "uniform", "columns": {"text": "body"}}.get(field.name, value)
        for name in (field.name, field.name.replace("_", "-")):
            assert given_options(parse(f"--{name}", text)) == {field.name: value}
    assert given_options(parse()) == {}


def test_help_names_each_field_with_its_default(cli):
    code, printed, _ = cli("prune", "--help")
    assert code == 0
    words = " ".join(printed.split())
    for field in dataclasses.fields(EvoESAPOptions):
        assert f"--{field.name.replace('_', '-')}" in words
        if isinstance(field.default, (int, float, str)) and not isinstance(field.default, bool):
            assert f"(default: {field.default})" in words
    assert "--search_samples" not in words


@pytest.mark.parametrize(
    "text, value",
    [
        ("evolution", "evolution"),
        ("3,4, 5", [3, 4, 5]),
        ("3", [3]),
        ("[3, 4]", [3, 4]),
        ('{"0": 3, "2": 4}', {0: 3, 2: 4}),
    ],
)
def test_allocation_values(text, value):
    assert parse_allocation(text) == value


@pytest.mark.parametrize("text", ["3,x", "[3.5]", '{"a": 1}', "[3", "[true]", "3;4"])
def test_wrong_allocations_are_told(text, capsys):
    with pytest.raises(SystemExit):
        parse("--allocation", text)
    assert repr(text) in capsys.readouterr().err


def test_columns_values(capsys):
    assert parse_columns("prompt=question, response=answer") == {"prompt": "question", "response": "answer"}
    assert parse_columns('{"text": "body"}') == {"text": "body"}
    for text in ("body", "text=", '{"text": 3}'):
        with pytest.raises(SystemExit):
            parse("--columns", text)
        assert "role=column" in capsys.readouterr().err


def hand_count():
    expert = 3 * EXPERT_WIDTH * HIDDEN + HIDDEN  # gate, up, down, and its row of the router
    key_value = HIDDEN // 2
    attention = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * key_value + HIDDEN + key_value
    total = 2 * VOCABULARY * HIDDEN + LAYERS * (attention + 2 * HIDDEN + EXPERTS * expert) + HIDDEN
    return expert, total


def test_inspect_counts_as_by_hand(cli, checkpoint):
    code, printed, _ = cli("inspect", "-m", checkpoint, "--json")
    assert code == 0
    found = json.loads(printed)
    expert, total = hand_count()
    assert found["dtype"] == "bfloat16" and found["model_type"] == "olmoe"
    assert found["parameters"] == total and found["size_in_bytes"] == 2 * total
    assert found["expert_parameters"] == LAYERS * EXPERTS * 3 * EXPERT_WIDTH * HIDDEN
    assert found["expert_share"] == pytest.approx(found["expert_parameters"] / total)
    assert [layer["index"] for layer in found["layers"]] == [0, 1, 2]
    layer = {"num_experts": 8, "top_k": 2, "num_groups": 1, "min_kept": 2, "parameters_per_expert": expert}
    assert all(layer.items() <= each.items() for each in found["layers"])
    # 75% is the largest possible, and comes once.
    assert [(each["sparsity"], each["removed_experts"]) for each in found["outlooks"]] == [
        (0.25, 6), (0.5, 12), (0.75, 18),
    ]  # fmt: skip
    for each in found["outlooks"]:
        left = total - each["removed_experts"] * expert
        assert (each["parameters"], each["size_in_bytes"]) == (left, 2 * left)


def test_inspect_agrees_with_a_real_run(cli, checkpoint, data, tmp_path):
    out = tmp_path / "pruned"
    cli("prune", "-m", checkpoint, "-o", out, "--allocation", "uniform", "--sparsity", 0.5, *FAST, *data_options(data))
    outlook = inspect_model(checkpoint).outlooks[1]
    assert outlook.parameters == PruningResult.load(out).parameters["after"]
    assert outlook.size_in_bytes == stored_bytes(out) == inspect_model(out).size_in_bytes


def test_inspect_prints_a_table(cli, checkpoint):
    code, printed, _ = cli("inspect", "-m", checkpoint)
    assert code == 0
    lines = [line.split() for line in printed.splitlines()]
    assert ["0-2", "8", "2", "1", "2", "2.34K"] in lines
    assert any(line[:5] == ["75.0%", "(largest)", "18", "of", "24"] for line in lines)


def test_inspect_reads_no_weights(checkpoint, tmp_path):
    (tmp_path / "config.json").write_text((checkpoint / "config.json").read_text())
    assert dataclasses.replace(inspect_model(tmp_path), model="") == dataclasses.replace(
        inspect_model(checkpoint), model=""
    )


def test_inspect_takes_models_and_keeps_groups_equal():
    model = make_model("deepseek_v3")
    found = inspect_model(model)
    unit = found.layers[0].num_groups
    assert unit > 1 and found.outlooks
    assert all(outlook.removed_experts % unit == 0 for outlook in found.outlooks)


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dense")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 32}
    LlamaForCausalLM(LlamaConfig(num_attention_heads=2, **sizes)).save_pretrained(folder)
    return folder


def check_error(outcome, *words):
    code, printed, error = outcome
    assert code == 2
    last = error.splitlines()[-1]
    assert last.startswith("error: ") and "Traceback" not in error
    assert all(word in last for word in words), last
    assert not printed


def test_a_dense_model_is_refused(cli, dense, tmp_path):
    check_error(cli("inspect", "-m", dense), "no routed experts")
    check_error(cli("prune", "-m", dense, "-o", tmp_path / "out"), "no routed experts")
    assert not (tmp_path / "out").exists()


def test_an_unreachable_sparsity_is_refused(cli, checkpoint, tmp_path):
    outcome = cli("prune", "-m", checkpoint, "-o", tmp_path / "out", "--sparsity", "0.9")
    check_error(outcome, "sparsity=0.9", "largest possible", "0.75")


def test_a_folder_with_other_things_is_refused(cli, checkpoint, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    check_error(cli("prune", "-m", checkpoint, "-o", tmp_path), "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_wrong_and_idle_options_are_refused(cli, checkpoint, tmp_path):
    prune = ["prune", "-m", checkpoint, "-o", tmp_path / "out"]
    check_error(cli(*prune, "--criterion", "magic"), "criterion='magic'", "reap")
    check_error(cli(*prune, "--allocation", "1,2,3", "--sparsity", "0.5"), "sparsity=0.5", "leave one of the two out")
    check_error(cli(*prune, "--hub-model-id", "me/model"), "--hub-model-id", "--push-to-hub")
    check_error(cli(*prune, "-c", tmp_path / "missing.json"), "missing.json")
    check_error(cli(*prune, "-c", tmp_path), "no configuration file", "evoesap_config.json")
    check_error(cli("inspect", "-m", tmp_path), "config.json")


def test_unexpected_errors_keep_their_traceback(cli, checkpoint, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr("optimum_evoesap.reports.inspection.inspect_model", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        cli("inspect", "-m", checkpoint)


@pytest.mark.parametrize("command", [[], ["prune"], ["inspect"]])
def test_help_is_light(command):
    program = (
        "import sys; from optimum.commands.optimum_cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "print('loaded:', *(name for name in ('torch', 'transformers', 'datasets') if name in sys.modules))"
    )
    arguments = [sys.executable, "-c", program, "evoesap", *command, "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "loaded:"


def a_result(**changes):
    values = {
        "base_model": "some/model",
        "model_type": "olmoe",
        "criterion": "reap",
        "fitness": "esap",
        "sparsity": 0.5,
        "budget": 8,
        "sparse_layers": [1, 2],
        "num_experts": [8, 8],
        "allocation": [2, 6],
        "kept_experts": {1: [0, 1, 2, 3, 4, 5], 2: [0, 1]},
        "scores": {"best": 0.8, "uniform": 0.7, "holdout_best": 0.6, "holdout_uniform": 0.65},
        "beats_uniform": False,
        "parameters": {"before": 2_000_000, "after": 1_000_000},
        "size_in_bytes": {"before": 4_000_000, "after": 2_000_000},
    }
    return PruningResult(**(values | changes))


def test_summary_tells_what_came_out():
    text = summarize(a_result(), "out")
    assert "2.00M" in text and "4.00 MB" in text and "-50.0%" in text
    assert f"{'#' * 24}{'.' * 8}  6 of 8" in text and f"{'#' * 8}{'.' * 24}  2 of 8" in text
    half_the_size = summarize(a_result(num_experts=[8, 4], allocation=[2, 2]), "out")
    assert f"{'#' * 8}{'.' * 8}  2 of 4" in half_the_size
    assert "does NOT beat" in text and "0.6500" in text
    assert "import optimum_evoesap" in text
    fewer = {
        "scores": {"best": 0.8, "uniform": 0.7},
        "beats_uniform": None,
        "not_compared_because": "2 windows are few",
    }
    assert "was not compared with the uniform allocation" in summarize(a_result(**fewer), "out")
    assert "2 windows are few" in summarize(a_result(**fewer), "out")
    uniform = summarize(a_result(allocation=[4, 4], scores={}, beats_uniform=None), "out")
    assert "import optimum_evoesap" not in uniform and "There were no search data" in uniform
