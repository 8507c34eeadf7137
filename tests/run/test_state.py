# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a broken-off run leaves behind: used where it is this run's and whole, and by one run at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from optimum_evoesap.calibration.criteria import CRITERIA
from optimum_evoesap.fitness.registry import FITNESSES
from optimum_evoesap.run.code_digest import code_digest
from optimum_evoesap.run.fingerprint import fingerprint, weights_digest
from optimum_evoesap.run.folder_lock import FolderInUseError, FolderLock
from optimum_evoesap.run.state import RunState
from tests.model_matrix import make_model
from tests.test_pruner import make_pruner, rows


class Stop(Exception):
    pass


def break_off(folder, change=lambda model: None, **options):
    """Run up to where the experts would be removed."""
    pruner = make_pruner(**options)
    change(pruner.model)
    pruner.apply = lambda: (_ for _ in ()).throw(Stop)
    with pytest.raises(Stop):
        pruner.prune(folder, rows(), rows(seed=1))
    return pruner


def finish(folder, change=lambda model: None, **options):
    pruner = make_pruner(**options)
    change(pruner.model)
    pruner.prune(folder, rows(), rows(seed=1))
    assert not (folder / ".evoesap").exists()
    return pruner.result


# --- the key: every weight ---


def double(name):
    def change(model):
        model.get_parameter(name).data[-1].mul_(2)

    return change


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
    assert caplog.text.count("that work is done again") == 2
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


# --- the key: the code of criterion and fitness ---


def written(source):
    """The function `function` of a module with that source."""
    module = types.ModuleType("a_module_of_the_user")
    exec(source, vars(module))
    return module.function


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
    for each in (len, print, torch.exp, torch.nn.Linear(2, 2), type, dict, [].append, Path.exists):
        assert code_digest(each) == code_digest(each)


STABLE = """
from optimum_evoesap.run.code_digest import code_digest, fitness_digests
from optimum_evoesap.calibration.criteria import CRITERIA
from optimum_evoesap.fitness.registry import FITNESSES
def function(x, seen={"b", "a", "c"}, other=object()):
    return x in {"one", "two", "three"}
print([fitness_digests(name) for name in FITNESSES], [code_digest(CRITERIA[name]) for name in CRITERIA])
print(code_digest(function))
"""


def test_the_digest_of_code_is_the_same_in_every_process():
    outputs = set()
    for seed in ("1", "2"):
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths), PYTHONHASHSEED=seed)
        outputs.add(subprocess.run([sys.executable, "-c", STABLE], env=environment, capture_output=True).stdout)
    assert len(outputs) == 1 and outputs.pop().strip()


# --- pieces that are damaged, or of another run ---


def test_statistics_carry_their_own_key(tmp_path, caplog):
    """A kill between two files would give the statistics of one run the key of another."""
    break_off(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / ".evoesap").iterdir()) == [
        *(f"search-00000{number}.json" for number in range(3)),
        "statistics.safetensors",
    ]
    break_off(tmp_path / "other", double("model.embed_tokens.weight"))
    name = Path(".evoesap", "statistics.safetensors")
    os.replace(tmp_path / "other" / name, tmp_path / "out" / name)
    result = finish(tmp_path / "out")
    assert "statistics.safetensors is of a run with another model" in caplog.text
    assert result == finish(tmp_path / "clean")


def flip(content, place):
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "garbage": lambda content: os.urandom(500),
    "text": lambda content: b"[" * 100_000,
    "other shape": lambda content: b'{"key": 1, "scores": [[1]]}',
    "list": lambda content: b"[1, 2]",
    "flipped in front": lambda content: flip(content, 3),
    "flipped in the middle": lambda content: flip(content, len(content) // 2),
    "flipped at the end": lambda content: flip(content, len(content) - 6),
}


@pytest.mark.parametrize("name", ["search-000001.json", "statistics.safetensors"])
def test_damaged_pieces_are_made_anew(name, tmp_path, caplog):
    first = break_off(tmp_path / "out")
    path = tmp_path / "out" / ".evoesap" / name
    whole = path.read_bytes()
    for damage in DAMAGES.values():
        path.write_bytes(damage(whole))
        caplog.clear()
        again = break_off(tmp_path / "out")
        assert f"{path} is damaged" in caplog.text
        assert sorted(path.read_bytes()) == sorted(whole)  # safetensors orders its metadata anew each time
        assert (again.scores, again.history) == (first.scores, first.history)


def test_pieces_are_on_the_disk_before_they_are_in_place(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: done.append("fsync") or fsync(file))
    monkeypatch.setattr(os, "replace", lambda old, new: done.append(Path(old).name) or replace(old, new))
    with RunState(tmp_path) as state:
        for _ in range(2):
            state.append("search", "key", {"scores": []})
    assert [each if each == "fsync" else "move" for each in done] == ["fsync", "move", "fsync"] * 2
    assert done[1] != done[4], "partial files have names of their own"


# --- one run at a time ---

HOLD = """
import sys, time
from optimum_evoesap.run.folder_lock import FolderLock
with FolderLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(300)
"""


def test_a_second_run_in_the_folder_of_a_running_one_is_refused(tmp_path):
    folder = tmp_path / "new" / "out"
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2]))
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], env=environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline().strip() == b"held"
        pruner = make_pruner(allocation=[1, 2, 3])
        prepare = pruner._prepare
        pruner._prepare = lambda *_: pytest.fail("the work must not start")
        with pytest.raises(FolderInUseError, match=r"new/out is in use .* wait .* or give another folder"):
            pruner.prune(folder, rows())
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    # What a killed process held blocks nobody.
    assert (folder / ".evoesap" / "lock").exists()
    pruner._prepare = prepare
    pruner.prune(folder, rows())
    assert (folder / "config.json").is_file() and not (folder / ".evoesap").exists()


def test_two_pruners_of_one_process(tmp_path):
    first, second = make_pruner(allocation=[1, 2, 3]), make_pruner(allocation=[3, 2, 1])
    done = make_pruner(allocation=[1, 2, 3])
    done.prune(None, rows())
    calibrate = first.calibrate

    def meanwhile():
        with pytest.raises(FolderInUseError):
            second.prune(tmp_path / "out", rows())
        with pytest.raises(FolderInUseError):
            done.save_pretrained(tmp_path / "out")
        return calibrate()

    first.calibrate = meanwhile
    first.prune(tmp_path / "out", rows())
    assert json.loads((tmp_path / "out" / "evoesap_result.json").read_text())["allocation"] == [1, 2, 3]
    second.prune(tmp_path / "out", rows())
    done.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out" / ".evoesap").exists()


def test_the_lock_goes_with_a_failed_run_and_so_do_folders_made_for_nothing(tmp_path):
    with pytest.raises(ValueError, match="calibration data"):
        make_pruner().prune(tmp_path / "new" / "out", [], rows())
    assert not (tmp_path / "new").exists()
    break_off(tmp_path / "out")
    assert not (tmp_path / "out" / ".evoesap" / "lock").exists()
    with FolderLock(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / ".evoesap" / "search-000000.json").exists()


def test_stages_after_a_broken_off_run_do_not_touch_its_folder(tmp_path):
    pruner = break_off(tmp_path / "out")
    state = tmp_path / "out" / ".evoesap" / "statistics.safetensors"
    state.unlink()
    pruner.calibrate()
    assert not state.exists()
