"""JSON as the CLI, a JavaScript program, writes it: what it computes its digests from."""

from __future__ import annotations

import decimal
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Final

_EXACT: Final = 2**53  # up to here every whole number is one of JavaScript's


def to_json(value: Any) -> str:
    """Return a value as ``JSON.stringify`` writes it, with the keys of each object in order.

    A number is what JavaScript has for it: ``1.0`` is ``1``, and a whole number beyond 2**53 is the
    nearest one that a double holds.
    """
    # From the end to the beginning, and without recursion: what a model gives to a tool may be nested
    # more deeply than Python calls.
    left, written = [value], list[str]()
    while left:
        match left.pop():
            case _Written() as part:
                written.append(part)
            case bool() | None | str() as plain:
                written.append(json.dumps(plain, ensure_ascii=False))
            case int() | float() as number:
                written.append(_number(number))
            case Mapping() as found:
                left.append(_Written("{"))
                items = sorted(found.items(), key=lambda item: _units(str(item[0])))
                for place, (key, item) in enumerate(items):
                    name = json.dumps(str(key), ensure_ascii=False)
                    left += [_Written(f",{name}:" if place else f"{name}:"), item]
                left.append(_Written("}"))
            case found:
                left.append(_Written("["))
                for place, item in enumerate(found):
                    left += [_Written("," if place else ""), item]
                left.append(_Written("]"))
    return "".join(reversed(written))


class _Written(str):
    """A part of the JSON itself."""

    __slots__ = ()


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's JSON, as the CLI computes it."""
    return hashlib.sha256(to_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def _units(text: str) -> bytes:
    # JavaScript compares UTF-16 units, in which an emoji stands before U+FFFD.
    return text.encode("utf-16-be", "surrogatepass")


def _number(value: float) -> str:
    if isinstance(value, int) and abs(value) <= _EXACT:
        return str(value)
    try:
        number = float(value)
    except OverflowError:
        return "null"  # Infinity, which JSON cannot hold
    if number == 0:
        return "0"
    if not math.isfinite(number):
        return "null"
    # The shortest digits that mean this number, which Python and JavaScript agree on; they differ
    # in where they put the point.
    sign, numerals, exponent = decimal.Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(exponent, int)
    digits = "".join(map(str, numerals))
    point = len(digits) + exponent
    if 0 < point <= 21:
        text = digits[:point].ljust(point, "0") + (f".{digits[point:]}" if exponent < 0 else "")
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        text = f"{digits[0]}{fraction}e{point - 1:+d}"
    return f"-{text}" if sign else text
