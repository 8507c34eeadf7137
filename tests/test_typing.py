# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""That the types of the package reach the type checker of its users."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from importlib import resources
from pathlib import Path

import pytest

import optimum_evoesap


SCRIPT = """
from optimum_evoesap import EvoESAPConfig, MoEPruner

config = EvoESAPConfig(sparsity="x")
pruner = MoEPruner.from_pretrained("olmoe", config=config)
pruner.prune(save_directory=5)
"""


def test_the_package_says_that_it_has_types():
    assert resources.files(optimum_evoesap).joinpath("py.typed").is_file()


@pytest.mark.slow
def test_a_type_checker_reports_wrong_types_of_a_user(tmp_path):
    pytest.importorskip("mypy")
    script = tmp_path / "prune.py"
    script.write_text(SCRIPT)
    # Another Python that has this tree installed: mypy looks for py.typed in installed packages only.
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (packages,) = tmp_path.glob("venv/lib/*/site-packages")
    (packages / "optimum_evoesap").symlink_to(Path(optimum_evoesap.__file__).parent)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    command = [sys.executable, "-m", "mypy", "--python-executable", python, "--ignore-missing-imports", script.name]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    errors = [line for line in result.stdout.splitlines() if "error:" in line]
    assert len(errors) == 2, result.stdout + result.stderr
    assert 'prune.py:4: error: Argument "sparsity" to "EvoESAPConfig" has incompatible type "str"' in errors[0]
    assert 'prune.py:6: error: Argument "save_directory" to "prune" of "MoEPruner" has incompatible type' in errors[1]
