"""Checks of single values (addresses, VLAN tests, names, numbers); the format of values in error messages.

Every check takes a value of any type and returns the value to use, or raises ``ValueError`` with a sentence
for the user: the value, and the values that fit. The scenario loader and the control plane share the checks.
"""

import re
from typing import Final, Literal, TypeVar

import msgspec

Vlan = int | Literal["untagged"] | None
"""A filter's VLAN test: 1..4094, "untagged" (also passes VID 0), or None for any tagging."""

MAX_NAME_CHARACTERS: Final = 256
MAX_VLAN: Final = 4094
MAX_BUFFERS: Final = 65_536
MAX_FRAME_BYTES: Final = 65_535
BROADCAST: Final = 0xFFFF_FFFF_FFFF

_SHOWN_CHARACTERS = 80
_ADDRESS = re.compile(r"[0-9a-fA-F]{2}(?:(?::[0-9a-fA-F]{2}){5}|(?:-[0-9a-fA-F]{2}){5})")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NDIS_VERSION = re.compile(r"6\.[0-9]{2}")

C = TypeVar("C", bound=str)


def one_line(text: str) -> str:
    """Return ``text`` with unprintable characters, line breaks included, escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def show(value: object) -> str:
    """Format a value for an error message: as its author wrote it, on one line, shortened."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            quoted = _cut(value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{one_line(quoted)}"'
        case int():
            return _cut(_digits(value))
        case dict():
            return "a table"
        case list() | tuple():
            return "an array"
        case bytes():
            return "binary data"
        case msgspec.Struct():
            name = type(value).__name__
            return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
        case _:
            return one_line(_cut(str(value)))


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # above Python's limit of decimal digits, so its author wrote it in hex
        return hex(value)


def format_mac(address: int) -> str:
    """Format a 48-bit MAC address in lower case with colons."""
    return address.to_bytes(6, "big").hex(":")


def parse_address(value: object) -> int:
    """Parse any MAC address, with colons or dashes, to a 48-bit big-endian number."""
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise ValueError(f'{show(value)} is not a MAC address (like "00:15:5d:00:00:01")')
    return int(value.replace(":", "").replace("-", ""), 16)


def normal_mac(value: object) -> str:
    """Check a unicast MAC address; return it in lower case with colons."""
    return format_mac(parse_mac(value))


def parse_mac(value: object) -> int:
    """Parse a unicast MAC address that is not zero to a 48-bit big-endian number (contract 3)."""
    address = parse_address(value)
    if address == 0:
        raise ValueError(f'{show(value)} is the zero address (a unicast MAC fits, like "00:15:5d:00:00:01")')
    if address >> 40 & 1:
        raise ValueError(f'{show(value)} is a group address (a unicast MAC fits, like "00:15:5d:00:00:01")')
    return address


def is_whole(value: object) -> bool:
    """Return whether a value is an integer; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_vlan(value: object) -> Vlan:
    """Check a filter's VLAN test: 1..4094, "untagged", or None."""
    if value is None:
        return None
    if value == "untagged":
        return "untagged"
    if isinstance(value, int) and is_whole(value) and 1 <= value <= MAX_VLAN:
        return value
    raise ValueError(f'{show(value)} is not a VLAN id (1..{MAX_VLAN}, "untagged", or left out)')


def check_filter_vlan(vlan: Vlan, ndis_minor: int, vlan_filtering: bool) -> None:
    """Raise ``ValueError`` if an adapter can't set a filter with this VLAN test (NDIS.md, "Bad input")."""
    if vlan is None and ndis_minor < 30:
        raise ValueError(
            f'NDIS 6.{ndis_minor} sets no filter without a VLAN test (1..{MAX_VLAN} or "untagged" fits)'
        )
    if isinstance(vlan, int) and not vlan_filtering:
        raise ValueError(f'{vlan} needs vlan_filtering, which is off ("untagged" or left out fits)')


def check_name(value: object) -> str:
    """Check the name of a queue or a VM: 1..256 printable characters."""
    if isinstance(value, str) and 1 <= len(value) <= MAX_NAME_CHARACTERS and value.isprintable():
        return value
    raise ValueError(f"{show(value)} is not a name (1..{MAX_NAME_CHARACTERS} printable characters)")


def check_adapter_name(value: object) -> str:
    """Check the name of an adapter or a team, such as "Ethernet 2": no blank at either end."""
    is_name = isinstance(value, str) and 1 <= len(value) <= MAX_NAME_CHARACTERS and value.isprintable()
    if isinstance(value, str) and is_name and value == value.strip():
        return value
    raise ValueError(
        f"{show(value)} is not a name (1..{MAX_NAME_CHARACTERS} printable characters, no blank at either end)"
    )


def check_identifier(value: object) -> str:
    """Check the name of a host: [A-Za-z0-9_.-]{1,64}."""
    if isinstance(value, str) and _IDENTIFIER.fullmatch(value):
        return value
    raise ValueError(f"{show(value)} is not a name (1..64 of A-Z a-z 0-9 _ . -)")


def check_ndis_version(value: object) -> str:
    """Check that an NDIS version has VMQ: "6.20" to "6.99"."""
    if isinstance(value, str) and _NDIS_VERSION.fullmatch(value) and value >= "6.20":
        return value
    raise ValueError(f'{show(value)} is not an NDIS version with VMQ ("6.20" to "6.99")')


def check_whole(value: object, low: int, high: int) -> int:
    """Check an integer in low..high."""
    if isinstance(value, int) and is_whole(value) and low <= value <= high:
        return value
    raise ValueError(f"{show(value)} is not a whole number in {low}..{high}")


def check_number(value: object, low: float, high: float) -> float:
    """Check an integer or a finite float in low..high; return a float."""
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return float(value)
    raise ValueError(f"{show(value)} is not a number in {low:.12g}..{high:.12g}")


def check_flag(value: object) -> bool:
    """Check that a value is true or false."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"{show(value)} is not true or false")


def check_choice(value: object, choices: tuple[C, ...]) -> C:
    """Check that a value is one of ``choices``."""
    for choice in choices:
        if value == choice:
            return choice
    raise ValueError(f"{show(value)} is not one of {', '.join(show(choice) for choice in choices)}")


def check_frame_bytes(value: object) -> int | Literal["imix"]:
    """Check the size of a flow's frames: a number of bytes, without a tag, or "imix"."""
    if value == "imix":
        return "imix"
    # A tag adds 4 bytes, which must fit too.
    if isinstance(value, int) and is_whole(value) and 60 <= value <= MAX_FRAME_BYTES - 4:
        return value
    raise ValueError(f'{show(value)} is not a frame size (60..{MAX_FRAME_BYTES - 4} bytes, or "imix")')
