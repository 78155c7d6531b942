"""Canonical JSON against the vectors of RFC 8785 (sections 3.2.2, 3.2.3 and appendix B)."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategy.canonical import canonical_bytes, number, sha256_hex
from strategy.errors import NotCanonical

APPENDIX_B = [
    ("0000000000000000", "0"), ("8000000000000000", "0"), ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"), ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"), ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"), ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"), ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"), ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"), ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"), ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"), ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"), ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"), ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]  # fmt: skip


@pytest.mark.parametrize(("bits", "text"), APPENDIX_B)
def test_numbers_are_written_as_ecmascript_writes_them(bits: str, text: str) -> None:
    assert number(struct.unpack(">d", bytes.fromhex(bits))[0]) == text


@pytest.mark.parametrize("bits", ["7fffffffffffffff", "7ff0000000000000", "fff0000000000000"])
def test_numbers_that_json_lacks_are_refused(bits: str) -> None:
    with pytest.raises(NotCanonical):
        number(struct.unpack(">d", bytes.fromhex(bits))[0])


def test_the_rfc_sample_is_serialised_as_the_rfc_prints_it() -> None:
    sample = (
        '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
        r'"string": "\u20ac$\u000F\u000aA' + "'" + r'\u0042\u0022\u005c\\\"\/",'
        '"literals": [null, true, false]}'
    )
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' + "'" + r'B\"\\\\\"/"}'
    )
    assert canonical_bytes(json.loads(sample)).decode() == expected


def test_keys_are_sorted_by_utf16_code_units() -> None:
    sample = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    assert list(json.loads(canonical_bytes(sample)).values()) == [2, 4, 6, 7, 1, 5, 3]


def test_empty_containers_have_a_form() -> None:
    assert canonical_bytes({"a": [], "b": {}, "c": [[], {}]}) == b'{"a":[],"b":{},"c":[[],{}]}'


@pytest.mark.parametrize(
    "value", [2**53 + 1, -(2**53) - 1, {1: 2}, {"a": object()}, "\ud800", {"\udfff": 1}, b"x"]
)
def test_values_without_a_form_are_refused(value: object) -> None:
    with pytest.raises(NotCanonical):
        canonical_bytes(value)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_canonical_json_reads_back_equal_and_is_its_own_canonical_form(value: object) -> None:
    try:
        written = canonical_bytes(value)
    except NotCanonical:
        return  # a key of half a surrogate pair
    again = json.loads(written, parse_int=float)
    assert again == value
    assert canonical_bytes(again) == written


def test_the_hash_is_sha256_in_hex() -> None:
    assert sha256_hex(b"{}") == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
