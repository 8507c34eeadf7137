# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The digest of a function: what its code names."""

from __future__ import annotations

import pytest

from optimum_evoesap.run.code_digest import code_digest
from tests.run.written import written


# Each with the value 1 and the value 2.
USE_OF_A = {
    "dict": "A = {{'a': {}}}",
    "dict in a dict": "A = {{'a': {{3: [{}]}}}}",
    "list": "A = [0, {}]",
    "list in a tuple": "A = (0, [{}])",
    "set": "A = {{0, {}}}",
    "bytes": "A = b'{}'",
    "bytearray": "A = bytearray([{}])",
    "None or not": "A = None if {} == 1 else 2",
    "partial": "from functools import partial\ndef f(x, y): return x\nA = partial(f, y={})",
    "partial of an edited function": "from functools import partial\ndef f(x): return {}\nA = partial(f)",
    "cached": "from functools import lru_cache\n@lru_cache\ndef A(x): return {}",
    "decorated": "import torch\n@torch.no_grad()\ndef A(x): return {}",
    "tensor": "import torch\nA = torch.tensor([{}.0])",
    "negated tensor": "import torch\nA = torch.tensor([1.0, 1.0]) * (3 - 2 * {})",
    "sparse tensor": "import torch\nA = torch.tensor([{}.0]).to_sparse()",
    "conjugated tensor": "import torch\nA = torch.tensor([{}j]).conj()",
    "array": "import numpy\nA = numpy.array([{}])",
    "array of objects": "import numpy\nA = numpy.array([[{}], None], dtype=object)",
    "number of numpy": "import numpy\nA = numpy.float64({})",
    "module": "import torch\nA = torch.nn.Dropout({} / 4)",
    "enum": "import enum\nE = enum.Enum('E', 'b c')\nA = E({})",
    "value of an enum": "import enum\nclass A(enum.Enum):\n b = {}",
    "pattern": "import re\nA = re.compile('a' * 300 + '{}')",
    "getter": "from operator import itemgetter\nA = itemgetter({})",
    "object": "class C:\n def __init__(s): s.b = {}\nA = C()",
    "object with slots": "class C:\n __slots__ = 'b',\n def __init__(s): s.b = {}\nA = C()",
    "called object": "class C:\n def b(s): return {}\n def __call__(s): return s.b()\nA = C()",
    "class attribute": "class A:\n b = {}",
    "class attribute that is a list": "class A:\n b = [{}]",
    "static method": "class A:\n @staticmethod\n def b(): return {}",
    "class method": "class A:\n @classmethod\n def b(c): return {}",
    "property": "class A:\n @property\n def b(s): return {}",
    "cached property": "import functools\nclass A:\n @functools.cached_property\n def b(s): return {}",
    "inherited method": "class B:\n def b(s): return {}\nclass A(B): pass",
    "inherited class attribute": "class C:\n b = {}\nclass B(C): pass\nclass A(B): pass",
    "class in a class": "class A:\n class B:\n  b = {}",
    "field": "import dataclasses\n@dataclasses.dataclass\nclass A:\n b: int = {}",
    "used by a method": "O = {{'a': {}}}\nclass A:\n def b(s): return O['a']",
    "used by a used function": "O = [{}]\ndef f(): return O\ndef A(): return f()",
    "table of functions": "def f(): return {}\nA = {{'f': f, int: f}}",
    "very deep": "A = [{}]\nfor _ in range(5000): A = [A]",
    "long chain": "def f0(): return {}\n"
    + "\n".join(f"def f{n}(): return f{n - 1}()" for n in range(1, 500))
    + "\nA = f499",
}


@pytest.mark.parametrize("name", USE_OF_A)
def test_the_digest_of_code_sees_an_edit_of_what_is_named(name):
    one, again, other = (
        code_digest(written(before + USE_OF_A[name].format(value) + "\ndef function(x): return A"))
        for before, value in (("", 1), ("\n\n", 1), ("", 2))
    )
    assert one == again != other
