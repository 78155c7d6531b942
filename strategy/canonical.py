"""Canonical JSON (RFC 8785): one value, one sequence of bytes, in every process.

Keys are sorted by UTF-16 code units, numbers are written as ECMAScript writes them, strings with the
shortest escapes, no white space. Dictionaries with string keys, lists, tuples, strings, booleans, None,
finite floats and integers that a double holds exactly (up to 2**53) have a form; all else is NotCanonical.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any

from strategy.errors import NotCanonical

MAX_SAFE_INTEGER = 2**53
_CONSTANTS = {None: "null", True: "true", False: "false"}


def canonical_bytes(value: Any) -> bytes:
    """Return the canonical UTF-8 bytes of value. Raises NotCanonical."""
    parts: list[str] = []
    _write(value, parts)
    try:
        return "".join(parts).encode("utf-8")
    except UnicodeEncodeError as error:
        raise NotCanonical("a string holds half of a surrogate pair") from error


def sha256_hex(content: bytes) -> str:
    """Return the SHA-256 of content in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def number(value: int | float) -> str:
    """Return value as ECMAScript's Number::toString writes it. Raises NotCanonical."""
    if isinstance(value, int):
        if abs(value) > MAX_SAFE_INTEGER:
            raise NotCanonical(f"the integer {value} is beyond what a double holds exactly")
        return str(value)
    if not math.isfinite(value):
        raise NotCanonical(f"{value} has no JSON form")
    if value == 0:
        return "0"  # also -0
    sign = "-" if value < 0 else ""
    digits, exponent = _shortest(abs(value))
    count, point = len(digits), exponent
    # `point` is ECMAScript's n: value = 0.DIGITS x 10**n
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    power = point - 1
    mantissa = digits[0] + ("." + digits[1:] if count > 1 else "")
    return f"{sign}{mantissa}e{'+' if power > 0 else '-'}{abs(power)}"


def _shortest(value: float) -> tuple[str, int]:
    """Return the fewest digits that read back as value, and n with value = 0.DIGITS x 10**n."""
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    point = len(whole) + int(exponent or 0)
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    return stripped.rstrip("0"), point


def _write(value: Any, parts: list[str]) -> None:
    # what documents mostly hold comes first: a strategy is thousands of values, written at each start
    if isinstance(value, str):
        # json escapes exactly what RFC 8785 does: quote, backslash, controls (the short forms where they are)
        parts.append(encode_basestring(value))
    elif value is None or isinstance(value, bool):
        parts.append(_CONSTANTS[value])
    elif isinstance(value, (int, float)):
        parts.append(number(value))
    elif isinstance(value, Mapping):
        _write_object(value, parts)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            parts.append("," if index else "[")
            _write(item, parts)
        parts.append("]" if value else "[]")
    else:
        raise NotCanonical(f"{type(value).__name__} has no JSON form")


def _write_object(value: Mapping[Any, Any], parts: list[str]) -> None:
    try:
        is_ascii = "".join(value).isascii()
    except TypeError:
        raise NotCanonical("object keys must be strings") from None
    # code points and UTF-16 code units order ASCII alike
    keys = sorted(value) if is_ascii else sorted(value, key=_utf16)
    before = "{"
    for key in keys:
        item = value[key]
        if type(item) is str:
            parts.append(f"{before}{encode_basestring(key)}:{encode_basestring(item)}")
        else:
            parts.append(f"{before}{encode_basestring(key)}:")
            _write(item, parts)
        before = ","
    parts.append("}" if keys else "{}")


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")
