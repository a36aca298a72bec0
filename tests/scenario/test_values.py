"""The rules for single values that the loader and the control plane share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.scenario import values

ADDRESSES = st.integers(0, 2**48 - 1)


@given(ADDRESSES)
def test_address_survives_being_written_and_read(address: int) -> None:
    text = values.format_mac(address)
    assert text == ":".join(f"{address >> shift & 0xFF:02x}" for shift in range(40, -8, -8))
    assert values.parse_address(text) == values.parse_address(text.upper().replace(":", "-")) == address


@given(ADDRESSES)
def test_only_unicast_addresses_other_than_zero_are_macs_of_a_filter(address: int) -> None:
    text = values.format_mac(address)
    if address == 0 or address & 0x0100_0000_0000:
        with pytest.raises(ValueError, match=r"is (the zero|a group) address"):
            values.parse_mac(text)
    else:
        assert values.parse_mac(text) == address
        assert values.normal_mac(text.upper()) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "00:15:5d:00:00", "00:15:5d:00:00:01:02", "00155d000001", "0:15:5d:0:0:1", "00:15:5d:00:00:0g"),
        *("00:15-5d:00:00:01", "00:15:5d:00:00:01\n", " 00:15:5d:00:00:01", "٠٠:15:5d:00:00:01"),
        *(5, None, b"\0" * 6),
    ],
)
def test_anything_else_is_not_an_address(text: object) -> None:
    with pytest.raises(ValueError, match="is not a MAC address"):
        values.parse_address(text)


@pytest.mark.parametrize("vlan", [1, 4094, "untagged", None])
def test_vlan_tests(vlan: int | str | None) -> None:
    assert values.check_vlan(vlan) == vlan


@pytest.mark.parametrize("vlan", [0, 4095, -1, True, 1.0, "1", "Untagged", [1], {}])
def test_not_vlan_tests(vlan: object) -> None:
    with pytest.raises(ValueError, match=r'is not a VLAN id \(1\.\.4094, "untagged", or left out\)'):
        values.check_vlan(vlan)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "nothing"),
        (True, "true"),
        (-5, "-5"),
        (2**64, "18446744073709551616"),
        pytest.param(16**5000, "0x1" + "0" * 77 + "…", id="more digits than Python writes"),
        (1.5, "1.5"),
        ('say "hi" \\ \n\x1b[31m', '"say \\"hi\\" \\\\ \\n\\x1b[31m"'),
        ("a\u2028b", '"a\\u2028b"'),
        ([], "an array"),
        ({}, "a table"),
        (b"\xff", "binary data"),
    ],
)
def test_values_are_shown_on_one_line(value: object, shown: str) -> None:
    assert values.show(value) == shown


@given(st.text())
def test_shown_text_is_printable_and_bounded(text: str) -> None:
    shown = values.show(text)
    assert shown.isprintable()
    assert len(shown) <= 10 * 81 + 2


def test_names_have_1_to_256_printable_characters() -> None:
    assert values.check_name("ü" * 256)
    for name in ("", "a" * 257, "a\nb", 5):
        with pytest.raises(ValueError, match="is not a name"):
            values.check_name(name)


def test_filters_an_adapter_can_not_set() -> None:
    with pytest.raises(ValueError, match=r"NDIS 6\.20 sets no filter without a VLAN test"):
        values.check_filter_vlan(None, 20, True)
    with pytest.raises(ValueError, match="10 needs vlan_filtering"):
        values.check_filter_vlan(10, 30, False)
    values.check_filter_vlan(None, 30, False)
    values.check_filter_vlan("untagged", 20, False)
    values.check_filter_vlan(10, 20, True)
