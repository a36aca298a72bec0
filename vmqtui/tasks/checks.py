"""From what was typed to what is sent, by the engine's own rules. Each raises ValueError with a sentence."""

from collections.abc import Callable
from typing import Any

from engine.scenario.values import check_filter_vlan, check_name, check_vlan, check_whole, normal_mac
from engine.telemetry.config import AdapterConfig, Vlan
from vmqtui.printable import printable


def whole(low: int, high: int) -> Callable[[str], int]:
    """A check for a whole number in low..high."""

    def check(text: str) -> int:
        digits = text.replace(",", "").replace("_", "")
        number = digits.isascii() and digits.isdigit() and len(digits) < 20
        return check_whole(int(digits) if number else text, low, high)

    return check


def processor(cpus: int) -> Callable[[str], int]:
    """A check for a processor of the host, as a number or group:number."""

    def check(text: str) -> int:
        group, colon, number = text.partition(":")
        parts = (group, number) if colon else (group,)
        if not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
            raise ValueError(
                f"{printable(text, 80) or 'nothing'} is not a processor (0..{cpus - 1}, or group:number)"
            )
        return check_whole(int(group) * 64 + int(number) if colon else int(group), 0, cpus - 1)

    return check


def vlan_test(settings: AdapterConfig | None) -> Callable[[str], Vlan]:
    """A check for a VLAN test that this adapter can set; nothing or "any" means no test."""

    def check(text: str) -> Vlan:
        given: Any = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else text.lower()
        vlan = check_vlan(None if given in ("", "any") else given)
        if settings is not None:
            minor = settings.ndis_version.partition(".")[2]
            check_filter_vlan(vlan, int(minor) if minor.isdigit() else 30, settings.vlan_filtering)
        return vlan

    return check


def optional_mac(text: str) -> str | None:
    """A MAC address, or nothing."""
    return normal_mac(text) if text else None


def optional_name(text: str) -> str | None:
    """A name, or nothing."""
    return check_name(text) if text else None


def number_as_typed(text: str) -> int | float | str:
    """A number as it was typed, with or without commas; the text itself where it is none."""
    digits = text.replace(",", "").replace("_", "")
    try:
        return int(digits) if digits.isascii() and digits.isdigit() else float(digits)
    except ValueError:
        return text
