# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Wrong options of the command line: one line that says what may have been meant, and at once."""

from __future__ import annotations

import subprocess
import sys

import pytest


PRUNE = ["prune", "-m", "a/b", "-o", "out"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pune"], "'pune' is unknown: did you mean 'prune'?"),
        ([*PRUNE, "--critrion", "reap"], "there is no option --critrion: did you mean '--criterion'?"),
        (["prune", "--modle", "a/b"], "there is no option --modle: did you mean '--model'?"),
        ([*PRUNE, "--num_elite=3"], "there is no option --num_elite: did you mean '--num_elites'?"),
        ([*PRUNE, "--qqqqq"], "there is no option --qqqqq. All options: "),
        ([*PRUNE, "reap"], "'reap' belongs to no option."),
        ([*PRUNE, "--preset", "papr"], "argument --preset: 'papr' is unknown: did you mean 'paper'?"),
        ([*PRUNE, "--dtype", "bf16"], "argument --dtype: 'bf16' is unknown: "),
        ([*PRUNE, "--batch-size", "few"], "argument --batch-size: invalid int value: 'few'."),
        (["prune", "-m", "a/b"], "the following arguments are required: -o/--output."),
        ([*PRUNE, "--criterion", "reep"], "criterion='reep' is not valid: did you mean 'reap'?"),
        ([*PRUNE, "--allocation", "evolve"], "allocation='evolve' is not valid: "),
        ([*PRUNE, "--columns", "txt=body"], "--columns names the role 'txt': did you mean 'text'?"),
        ([*PRUNE, "--hub-model-id", "a/b"], "add --push-to-hub"),
        (["sweep", "-m", "a/b", "-o", "out", "--sparsities", "0.5", "1.5"], "sparsity=1.5 is not valid"),
        (["inspect", "-m", "a/b", "--measure", "--fitness", "esp"], "did you mean 'esap'?"),
    ],
)
def test_one_line_with_what_was_meant(arguments, words, cli):
    code, printed, error = cli(*arguments)
    assert code == 2 and not printed
    [line] = error.splitlines()
    assert line.startswith("error: ") and words in line


@pytest.mark.parametrize(
    "wrong",
    [["--criterion", "reep"], ["--critrion", "reap"], ["--columns", "txt=body"], ["--seed", "-1"], ["--private"]],
)
def test_what_is_wrong_is_told_before_torch_is_loaded(wrong):
    program = (
        "import sys; from optimum.commands.optimum_cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert stop.code == 2\n"
        "print('loaded:', *(name for name in ('torch', 'transformers', 'datasets') if name in sys.modules))"
    )
    arguments = [sys.executable, "-c", program, "evoesap", *PRUNE, *wrong]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "loaded:"


def test_values_that_look_like_options_are_values(cli):
    code, _, error = cli(*PRUNE, "--hub-model-id", "--a message with spaces", "--data-split=--odd", "--private")
    assert code == 2 and "would have no effect" in error
