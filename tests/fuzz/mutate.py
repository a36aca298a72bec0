"""Changes to well-formed input, so that fuzzing goes on behind the decoder.

Random changes to bytes hardly ever leave a MessagePack message, a checksum or a compressed record whole. Here
input is read into a tree of maps, lists and values, some of it is changed, and it is written again: well
formed, and nonsense.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import msgpack
import msgspec

from engine.telemetry.packing import PackingError, inflate
from engine.telemetry.recording import Head

PACKED_LIMIT_BYTES: Final = 1 << 20
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 2, 7, 63, 64, 255, 256, 4094, 4095, 4096, 4097, 65_535, 65_536),
    *(2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**31), -(2**63)),
    *(0.0, -0.0, 0.5, 1e-320, 1e308, float("inf"), float("-inf"), float("nan")),
    *("", "a", "nic0", "untagged", "running", "vsp", "00:15:5d:00:00:01", "ff:ff:ff:ff:ff:ff", "6.20"),
    *("\x1b[2J\x9b31m", "\u202eab", "[b]x[/b]", "\n", "x" * 300, "=1+1", "\ud7ff\U0010ffff", "-", "%s", "{}"),
    *(b"", b"\xff\x00", [], {}, [[]], {"": None}, msgspec.msgpack.Ext(-1, b"\xff" * 12)),
)
"""What may stand anywhere, whether or not it fits."""

Tree = Any


@dataclass(frozen=True)
class Form:
    """How a kind of input becomes a tree and bytes again. Both raise an Exception for what does not fit."""

    read: Callable[[bytes], Tree]
    write: Callable[[Tree], bytes]


def places(node: Tree, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a tree."""
    found, waiting = [], [(path, node)]
    while waiting:
        here, inner = waiting.pop()
        found.append(here)
        pairs = inner.items() if isinstance(inner, dict) else enumerate(inner) if _is_list(inner) else ()
        waiting += [((*here, key), value) for key, value in pairs]
    return found


def at(node: Tree, path: tuple[Any, ...]) -> Tree:
    """The value at a place."""
    for part in path:
        node = node[part]
    return node


def changed(node: Tree, path: tuple[Any, ...], change: str, value: Tree) -> Tree:
    """A tree with one value replaced, left out, or doubled."""
    if not path:
        return value
    copy = dict(node) if isinstance(node, dict) else list(node)
    if len(path) > 1:
        copy[path[0]] = changed(copy[path[0]], path[1:], change, value)
    elif change == "leave out":
        del copy[path[0]]
    elif change == "double" and isinstance(copy, list):
        copy.insert(path[0], copy[path[0]])
    else:
        copy[path[0]] = value
    return copy


def mutated(tree: Tree, chance: Random, mutate_bytes: Callable[[bytes], bytes]) -> Tree:
    """A tree with one to four places changed."""
    for _ in range(chance.choice((1, 1, 1, 2, 2, 4))):
        everywhere = places(tree)
        path = chance.choice(everywhere)
        change = chance.choice(
            ("replace", "replace", "nudge", "nudge", "nudge", "leave out", "double", "move")
        )
        if change == "move":
            value, change = at(tree, chance.choice(everywhere)), "replace"
        elif change == "nudge":
            value, change = _nudged(at(tree, path), chance, mutate_bytes), "replace"
        else:
            value = chance.choice(VALUES)
        tree = changed(tree, path, change, value)
    return tree


def mutator(form: Form, mutate: Callable[[bytes, int], bytes]) -> Callable[[bytes, int, int], bytes]:
    """What atheris takes as its custom mutator; ``mutate`` is its own, for a part of the time and for input
    that is not well formed."""

    def change(data: bytes, most: int, seed: int) -> bytes:
        chance = Random(seed)
        if chance.random() < 0.85:
            try:
                tree = mutated(form.read(data), chance, lambda inner: mutate(inner, len(inner) + 8))
                written = form.write(tree)
            except Exception:
                written = b""
            if 0 < len(written) <= most:
                return written
        return mutate(data, most)

    return change


def _is_list(node: Tree) -> bool:
    return isinstance(node, list | tuple)


def _nudged(node: Tree, chance: Random, mutate_bytes: Callable[[bytes], bytes]) -> Tree:
    """Something near a value."""
    match node:
        case bool() | None:
            return chance.choice(VALUES)
        case int():
            return node + chance.choice((-1, 1, -node, node, 1 << chance.randrange(64), -(1 << 31)))
        case float():
            return node * chance.choice((-1.0, 0.0, 1e300, 1e-300, 2.0))
        case str():
            at_ = chance.randrange(len(node) + 1)
            return node[:at_] + chance.choice(("", "x", ":", "0", "\x1b", "é", node)) + node[at_ + 1 :]
        case bytes():
            return mutate_bytes(node)
        case list() | tuple():
            kind = chance.randrange(4)
            listed = list(node)
            if kind == 0:
                return listed * chance.choice((2, 3, 17))
            if kind == 1:
                chance.shuffle(listed)
                return listed
            return [node] if kind == 2 else listed[: len(listed) // 2]
        case dict():
            named = dict(node)
            key = chance.choice(("", "x", "id", "nic1", *named))
            named[key] = chance.choice((*VALUES, *named.values()))
            return named if chance.random() < 0.8 else {"x": node}
    return node


def _read_stream(data: bytes) -> Tree:
    """Several messages, one after the other."""
    unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=PACKED_LIMIT_BYTES)
    unpacker.feed(data)
    return list(unpacker)


def _write_stream(tree: Tree) -> bytes:
    return b"".join(map(msgspec.msgpack.encode, tree))


def _read_recording(data: bytes) -> Tree:
    """The beginning, then [head without its checksum, what the data unpacks to] for each record."""
    begun, *parts = _read_stream(data)
    return [begun, *([[*head[:3], *head[4:]], _opened(inner)] for head, inner in zip(*[iter(parts)] * 2))]  # noqa: B905 - a cut file ends with a head


def _opened(data: bytes) -> Tree:
    try:
        return {"": msgspec.msgpack.decode(inflate(data, PACKED_LIMIT_BYTES))}
    except (PackingError, msgspec.MsgspecError, ValueError, RecursionError):
        return data


def _write_recording(tree: Tree) -> bytes:
    out = [msgspec.msgpack.encode(tree[0])]
    for (kind, host, time_ns, *numbers), inner in tree[1:]:
        data = zlib.compress(msgspec.msgpack.encode(inner[""]), 1) if isinstance(inner, dict) else inner
        head = Head(kind, host, time_ns, 0, *numbers[:2]).sealed(data)
        out += [msgspec.msgpack.encode([*head, *numbers[2:]]), msgspec.msgpack.encode(data)]
    return b"".join(out)


MESSAGE: Final = Form(msgspec.msgpack.decode, msgspec.msgpack.encode)
STREAM: Final = Form(_read_stream, _write_stream)
RECORDING: Final = Form(_read_recording, _write_recording)
JSON: Final = Form(json.loads, lambda tree: json.dumps(tree).encode())
LINES: Final = Form(
    lambda data: data.decode("utf-8", "surrogateescape").split("\n"),
    lambda tree: "\n".join(map(str, tree)).encode("utf-8", "surrogateescape"),
)
