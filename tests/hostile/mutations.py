# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Turn what is valid into what is not: in its values, and in its bytes."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any


ODD_KEYS = [
    "self", "cls", "", " ", "0", "-1", "01", "1.5", "__class__", "__dict__", "__init__", "to_dict", "files", "ключ",
    "a" * 300, "../x", "preset", "configuration_files", "auto_map", "trust_remote_code", "_commit_hash", "\x00",
]  # fmt: skip
ODD_VALUES = [
    None, True, False, 0, 1, -1, 2, 10**6, 2**31, 2**63, 10**30, 10**400, 0.5, -0.0, 1e308, -1e308, 1.5,
    float("nan"), float("inf"), float("-inf"), "", " ", "x", "-1", "0", "1e999", "nan", "None", "null", "\x00", "é",
    "\ud800", "a\nb", "a" * 5000, "../../etc/passwd", "/", "~", "<img src=x onerror=alert(1)>", "|", "{{7*7}}", "os",
    [], {}, [[]], [None], [0], ["x"], {"x": None}, {"0": 0}, {"__float__": "NaN"}, {"self": 1},
    "[" * 3000, '[{"role": "user", "content": "x"}]', "{}", '{"a": ' * 1000 + "1" + "}" * 1000,
]  # fmt: skip
DEPTHS = [39, 41, 900, 1_100, 60_000]
CHANGES = ["replace", "replace", "replace", "remove", "remove", "add", "rename", "deepen", "repeat", "swap"]


def odd_value(random: Random, levels: int = 2) -> Any:
    """Something that nobody expects, also inside lists and objects."""
    kind = random.randint(0, 9)
    if kind < 6 or not levels:
        return copy.deepcopy(random.choice(ODD_VALUES))
    if kind == 6:
        return random.randint(-3, 70)
    if kind == 7:
        return random.uniform(-2, 2)
    inner = [odd_value(random, levels - 1) for _ in range(random.randint(0, 3))]
    return inner if kind == 8 else {random.choice(ODD_KEYS): each for each in inner}


def changed(random: Random, originals: Sequence[Any]) -> Any:
    """One of the originals with one to three changes, now and then something else altogether."""
    if random.randint(0, 49) == 0:
        return odd_value(random)
    values = copy.deepcopy(random.choice(originals))
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        values = _change(random, values)
    return values


def hostile_json(random: Random, originals: Sequence[Any]) -> bytes:
    """A JSON file: mostly one whose values were changed, else one whose bytes were."""
    if random.randint(0, 4):
        return json.dumps(changed(random, originals)).encode()
    return damaged(random, json.dumps(random.choice(originals)).encode())


def damaged(random: Random, content: bytes) -> bytes:
    """The bytes of a file, cut, changed, in another encoding, or nested without end."""
    kind = random.choice(["cut", "flip", "insert", "encode", "twice", "nest", "noise", "blank"])
    place = random.randint(0, len(content) - 1)
    noise = bytes(random.randint(0, 255) for _ in range(random.randint(0, 6)))
    if kind == "cut":
        return content[:place]
    if kind == "flip":
        return content[:place] + bytes([random.randint(0, 255)]) + content[place + 1 :]
    if kind == "insert":
        return content[:place] + noise + content[place:]
    if kind == "encode":
        other = random.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7"])
        return content.decode("utf-8", "replace").encode(other)
    if kind == "twice":
        return content + content
    if kind == "nest":
        return random.choice([b'{"x":', b"["]) * random.choice(DEPTHS) + b"1"
    return noise if kind == "noise" else b" " * place


def _places(values: Any, above: tuple = ()) -> list[tuple]:
    """The place of each value inside others, as keys and positions."""
    inside = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    found = []
    for key, value in inside:
        found += [(*above, key), *_places(value, (*above, key))]
    return found


def _at(values: Any, place: tuple) -> Any:
    for key in place:
        values = values[key]
    return values


def _deep(depth: int) -> Any:
    value: Any = "deep"
    # Three of them inside each other can still be copied.
    for level in range(min(depth, 120)):
        value = [value] if level % 2 else {"x": value}
    return value


def _change(random: Random, values: Any) -> Any:
    found = _places(values)
    if not found:
        return odd_value(random)
    place = random.choice(found)
    holder, key = _at(values, place[:-1]), place[-1]
    kind = random.choice(CHANGES)
    if kind == "replace":
        holder[key] = odd_value(random)
    elif kind == "remove":
        del holder[key]
    elif kind == "deepen":
        holder[key] = _deep(random.choice(DEPTHS))
    elif kind == "swap":
        holder[key] = copy.deepcopy(_at(values, random.choice(found)))
    elif kind == "repeat" and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif kind == "rename" and isinstance(holder, dict):
        holder[random.choice(ODD_KEYS)] = holder.pop(key)
    elif isinstance(holder, dict):
        holder[random.choice(ODD_KEYS)] = odd_value(random)
    else:
        holder.append(odd_value(random))
    return values
