# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The key of a run: the code of criterion and fitness."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from optimum_evoesap.calibration.criteria import CRITERIA
from optimum_evoesap.fitness.registry import FITNESSES
from optimum_evoesap.run.code_digest import code_digest
from tests.run.broken_off import break_off, finish
from tests.run.written import written


FITNESS = """
SCALE = {scale}
def helper(values):
    return values * SCALE
def function(block):
    return helper(block.student_log_probabilities.gather(-1, block.targets[:, None])[:, 0])
"""


def test_the_scores_of_an_edited_fitness_are_not_used(tmp_path, monkeypatch):
    monkeypatch.setitem(FITNESSES, "own", written(FITNESS.format(scale=1)))
    break_off(tmp_path / "out", fitness="own")
    monkeypatch.setitem(FITNESSES, "own", written(FITNESS.format(scale=-1)))
    result = finish(tmp_path / "out", fitness="own")
    assert result == finish(tmp_path / "clean", fitness="own")


def test_the_order_of_an_edited_criterion_is_not_used(tmp_path, monkeypatch):
    source = "def function(statistics):\n    return {}statistics.norm_sum"
    monkeypatch.setitem(CRITERIA, "own", written(source.format("")))
    first = break_off(tmp_path / "out", criterion="own")
    monkeypatch.setitem(CRITERIA, "own", written(source.format("-")))
    result = finish(tmp_path / "out", criterion="own")
    assert result == finish(tmp_path / "clean", criterion="own") and result.kept_experts != first.kept_experts


def test_the_scores_of_a_fitness_with_other_options_are_not_used(tmp_path, monkeypatch):
    source = (
        FITNESS.format(scale="0")
        .replace("SCALE = 0", "OPTIONS = {{'scale': {}}}")
        .replace("SCALE", "OPTIONS['scale']")
    )
    monkeypatch.setitem(FITNESSES, "own", written(source.format("1.0")))
    break_off(tmp_path / "out", fitness="own")
    monkeypatch.setitem(FITNESSES, "own", written(source.format("-1.0")))
    result = finish(tmp_path / "out", fitness="own")
    assert result == finish(tmp_path / "clean", fitness="own")


@pytest.mark.parametrize(
    "one,other",
    [
        ("def function(x): return x + 1", "def function(x): return x + 2"),
        ("def function(x): return x + 1", "def function(x): return x - 1"),
        ("def function(x): return x.exp()", "def function(x): return x.log()"),
        ("def function(x, y=1): return x", "def function(x, y=2): return x"),
        ("def function(x, *, y=1): return x", "def function(x, *, y=2): return x"),
        ("A = 1\ndef function(x): return A", "A = 1.0\ndef function(x): return A"),
        ("A = (1, 2)\ndef function(x): return A", "A = (2, 1)\ndef function(x): return A"),
        ("def function(x): return x in {'a', 'b'}", "def function(x): return x in {'a', 'c'}"),
        ("def f(x): return 1\ndef function(x): return f(x)", "def f(x): return 2\ndef function(x): return f(x)"),
        ("def function(x): return [i + 1 for i in x]", "def function(x): return [i + 2 for i in x]"),
        ("function = (lambda a: lambda x: x * a)(1)", "function = (lambda a: lambda x: x * a)(2)"),
        ("class A:\n def __call__(s): 1\nfunction = A()", "class A:\n def __call__(s): return 2\nfunction = A()"),
        (
            "class A:\n def __call__(s): 1\nfunction = A(); function.b = 1",
            "class A:\n def __call__(s): 1\nfunction = A(); function.b = 2",
        ),
        (
            "class A:\n def b(s): return 1\ndef function(x): return A().b()",
            "class A:\n def b(s): return 2\ndef function(x): return A().b()",
        ),
        (
            "from functools import partial\ndef f(a, x): pass\nfunction = partial(f, 1)",
            "from functools import partial\ndef f(a, x): pass\nfunction = partial(f, 2)",
        ),
        (
            "import torch\n@torch.no_grad()\ndef function(x): return 1",
            "import torch\n@torch.no_grad()\ndef function(x): return 2",
        ),
        (
            "import numpy\nfunction = lambda x, t=numpy.ones(3): x * t",
            "import numpy\nfunction = lambda x, t=numpy.zeros(3): x * t",
        ),
        ("import torch; function = torch.exp", "import torch; function = torch.log"),
        (
            "import torch\nfunction = lambda x, t=torch.tensor([1.]): x * t",
            "import torch\nfunction = lambda x, t=torch.tensor([2.]): x * t",
        ),
    ],
)
def test_the_digest_of_code_sees_an_edit(one, other):
    assert code_digest(written(one)) == code_digest(written("\n\n" + one)) != code_digest(written(other))


def test_the_digest_of_code_ends_in_circles_and_takes_anything():
    loop = written("def function(x): return other(x)\ndef other(x): return function(x)")
    assert code_digest(loop) == code_digest(loop)
    loop = written("class A:\n    def __call__(self): pass\nfunction = A()\nfunction.all = {function: {function}}")
    assert code_digest(loop) == code_digest(loop)
    loop = written("A = {}\nclass B: pass\nB.a = A\nA['b'] = [A, B, B()]\ndef function(x): return A")
    assert code_digest(loop) == code_digest(loop)
    for each in (len, print, torch.exp, torch.nn.Linear(2, 2), type, dict, [].append, Path.exists):
        assert code_digest(each) == code_digest(each)


STABLE = """
import enum, functools, threading
import torch
from optimum_evoesap.run.code_digest import code_digest, fitness_digests
from optimum_evoesap.calibration.criteria import CRITERIA
from optimum_evoesap.fitness.registry import FITNESSES
def function(x, seen={"b", "a", "c"}, other=object()):
    return x in {"one", "two", "three"}
OPTIONS = {"scale": 1.0, "names": {"x", "y", "z"}, ("a", frozenset("abc")): [object(), threading.Lock()]}
TABLE = {function: {int, str, float}, torch.exp: torch.float32}
WEIGHTS = torch.arange(5.0)
class Mode(enum.Enum):
    FAST = frozenset("abc")
class Base:
    __slots__ = ("one", "two")
    def first(self): self.b = self.c = self.d = OPTIONS
class Derived(Base):
    mode = Mode.FAST
    @functools.cached_property
    def second(self): return TABLE
    @functools.lru_cache
    def third(self): return WEIGHTS
ONE = Derived()
def named(x): return Derived, ONE, WEIGHTS, torch, threading, len, print, functools.partial(function, OPTIONS)
print(code_digest(named))
print([fitness_digests(name) for name in FITNESSES], [code_digest(CRITERIA[name]) for name in CRITERIA])
print(code_digest(function))
"""


def test_the_digest_of_code_is_the_same_in_every_process():
    outputs = set()
    for seed in ("1", "2"):
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths), PYTHONHASHSEED=seed)
        outputs.add(
            subprocess.run([sys.executable, "-c", STABLE], env=environment, capture_output=True, check=True).stdout
        )
    assert len(outputs) == 1 and outputs.pop().strip()
