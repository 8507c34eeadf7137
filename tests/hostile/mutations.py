# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Turn what is valid into what is not: in its values, and in its bytes."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st


ODD_KEYS = [
    "self", "cls", "", " ", "0", "-1", "01", "1.5", "__class__", "__dict__", "__init__", "to_dict", "files", "ключ",
    "a" * 300, "../x", "preset", "configuration_files", "auto_map", "trust_remote_code", "_commit_hash", "\x00",
]  # fmt: skip
ODD_VALUES = [
    None, True, False, 0, 1, -1, 2, 10**6, 2**31, 2**63, 10**30, 10**400, 0.5, -0.0, 1e308, -1e308, 1.5,
    float("nan"), float("inf"), float("-inf"), "", " ", "x", "-1", "0", "1e999", "nan", "None", "null", "\x00", "é",
    "\ud800", "a\nb", "a" * 5000, "../../etc/passwd", "/", "~", "<img src=x onerror=alert(1)>", "|", "{{7*7}}", "os",
    [], {}, [[]], [None], [0], ["x"], {"x": None}, {"0": 0}, {"__float__": "NaN"}, {"self": 1},
]  # fmt: skip
SMALL = st.recursive(
    st.sampled_from(ODD_VALUES) | st.integers(-3, 70) | st.floats(width=32) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(ODD_KEYS), inner, max_size=3),
    max_leaves=4,
)
DEPTHS = [39, 41, 900, 1_100, 60_000]
CHANGES = ["replace", "replace", "replace", "remove", "remove", "add", "rename", "deepen", "repeat", "swap"]


def places(values: Any, above: tuple = ()) -> list[tuple]:
    """The place of each value inside others, as keys and positions."""
    inside = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    found = []
    for key, value in inside:
        found += [(*above, key), *places(value, (*above, key))]
    return found


def _at(values: Any, place: tuple) -> Any:
    for key in place:
        values = values[key]
    return values


def _deep(depth: int) -> Any:
    value: Any = "deep"
    for level in range(min(depth, 900)):
        value = [value] if level % 2 else {"x": value}
    return value


def _change(draw: Any, values: Any) -> Any:
    found = places(values)
    if not found:
        return draw(SMALL)
    place = draw(st.sampled_from(found))
    holder, key = _at(values, place[:-1]), place[-1]
    kind = draw(st.sampled_from(CHANGES))
    if kind == "replace":
        holder[key] = draw(SMALL)
    elif kind == "remove":
        del holder[key]
    elif kind == "deepen":
        holder[key] = _deep(draw(st.sampled_from(DEPTHS)))
    elif kind == "swap":
        other = draw(st.sampled_from(found))
        holder[key] = copy.deepcopy(_at(values, other))
    elif kind == "repeat" and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif kind == "rename" and isinstance(holder, dict):
        holder[draw(st.sampled_from(ODD_KEYS))] = holder.pop(key)
    elif isinstance(holder, dict):
        holder[draw(st.sampled_from(ODD_KEYS))] = draw(SMALL)
    else:
        holder.append(draw(SMALL))
    return values


@st.composite
def changed(draw: Any, originals: list[Any]) -> Any:
    """One of the originals with one to three changes, now and then something else altogether."""
    if draw(st.integers(0, 49)) == 0:
        return draw(SMALL)
    values = copy.deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        values = _change(draw, values)
    return values


def _as_json(values: Any) -> bytes:
    return json.dumps(values).encode("utf-8", "surrogatepass")


@st.composite
def damaged(draw: Any, content: bytes) -> bytes:
    """The bytes of a file, cut, changed, in another encoding, or nested without end."""
    kind = draw(st.sampled_from(["cut", "flip", "insert", "encode", "twice", "nest", "noise", "blank"]))
    place = draw(st.integers(0, max(0, len(content) - 1)))
    if kind == "cut":
        return content[:place]
    if kind == "flip":
        return content[:place] + bytes([draw(st.integers(0, 255))]) + content[place + 1 :]
    if kind == "insert":
        return content[:place] + draw(st.binary(max_size=4)) + content[place:]
    if kind == "encode":
        return content.decode("utf-8", "replace").encode(
            draw(st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "utf-7"]))
        )
    if kind == "twice":
        return content + content
    if kind == "nest":
        depth = draw(st.sampled_from(DEPTHS))
        return (b'{"x":' if draw(st.booleans()) else b"[") * depth + b"1"
    return draw(st.binary(max_size=40)) if kind == "noise" else b" " * place


@st.composite
def hostile_json(draw: Any, originals: list[Any]) -> bytes:
    """A JSON file: mostly one whose values were changed, else one whose bytes were."""
    if draw(st.integers(0, 4)):
        return _as_json(draw(changed(originals)))
    return draw(damaged(_as_json(draw(st.sampled_from(originals)))))
