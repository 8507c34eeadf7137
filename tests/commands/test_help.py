# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The help of `optimum-cli evoesap`: each option, and how light it is."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from optimum_evoesap.options import EvoESAPOptions


def test_help_names_each_field_with_its_default(cli):
    code, printed, _ = cli("prune", "--help")
    assert code == 0
    words = " ".join(printed.split())
    for field in dataclasses.fields(EvoESAPOptions):
        assert f"--{field.name.replace('_', '-')}" in words
        if isinstance(field.default, (int, float, str)) and not isinstance(field.default, bool):
            assert f"(default: {field.default})" in words
    assert "--search_samples" not in words


@pytest.mark.parametrize("command", [[], ["prune"], ["sweep"], ["apply"], ["push"], ["inspect"]])
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
