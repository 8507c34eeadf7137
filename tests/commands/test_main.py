# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`python -m optimum_evoesap`: our commands and those of transformers, with a help that says which is which."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
from transformers.cli.transformers import app

from optimum_evoesap.commands.base import EvoESAPCommand
from optimum_evoesap.commands.main import TRANSFORMERS_COMMANDS


def start(*arguments, **options):
    command = [sys.executable, "-m", "optimum_evoesap", *map(str, arguments)]
    return subprocess.run(command, text=True, timeout=120, **{"capture_output": True} | options)


def test_the_help_says_which_is_which():
    for arguments in ([], ["--help"], ["-h"]):
        done = start(*arguments)
        assert done.returncode == 0, done.stderr
        own, theirs = done.stdout.split("Commands of transformers")
        assert all(f"\n  {info.name} " in own and info.help in own for info in EvoESAPCommand.SUBCOMMANDS)
        assert "\n  serve " in theirs and "\n  prune " not in theirs


def test_the_commands_of_transformers_are_those_that_it_has():
    # Some releases of the client make a group of commands of it, others a Typer.
    group = app if hasattr(app, "commands") else typer.main.get_command(app)
    theirs = set(group.commands)
    assert set(TRANSFORMERS_COMMANDS) == theirs
    assert not theirs & {info.name for info in EvoESAPCommand.SUBCOMMANDS}


def test_both_kinds_run(checkpoint):
    done = start("inspect", "-m", checkpoint, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model_type"] == "olmoe"
    done = start("version")
    assert done.returncode == 0 and done.stdout.strip()
    done = start("inspect", "--help")
    assert done.stdout.startswith("usage: python -m optimum_evoesap inspect -m MODEL")


@pytest.mark.parametrize(("name", "meant"), [("pune", "prune"), ("serv", "serve"), ("inspct", "inspect")])
def test_near_names_are_asked_for(name, meant):
    done = start(name)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"error: {name!r} is unknown: did you mean {meant!r}? All: python -m optimum_evoesap --help"
    )


def test_a_reader_that_has_had_enough_ends_the_command_quietly(checkpoint):
    command = f"{sys.executable} -m optimum_evoesap inspect -m {checkpoint} --json"
    script = f"set -o pipefail; {command} | head -n 1; exit $?"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout == "{\n"
    assert not [line for line in done.stderr.splitlines() if line.startswith(("error", "Traceback", "Exception"))]
    # Where all was written before the reader left, the command ends as always.
    assert done.returncode in (0, 141)


def test_a_closed_pipe_is_quiet_however_much_is_left(checkpoint):
    process = subprocess.Popen(
        [sys.executable, "-m", "optimum_evoesap", "inspect", "-m", str(checkpoint), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    error = process.stderr.read().decode()
    assert process.wait(120) == 141
    assert "Broken" not in error and "Traceback" not in error and "Exception" not in error
