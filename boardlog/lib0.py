"""lib0's encodings, checked as they are read: numbers, texts, values and the JSON inside them (pure).

Every number is a varint of seven bits a byte, low bits first. Reading behind the end raises IndexError, which is the
caller's to turn into a sentence; whatever else is wrong raises InvalidUpdate, naming the byte. The format is documented
by its implementations only: lib0 (`decoding.js`).
"""

import json
import re
from typing import Final, NoReturn

from boardlog.errors import InvalidUpdate

LENGTH_MAX: Final = 2**31 - 1
"""yrs counts in 32 bits."""

_VARINT_BYTES_MAX: Final = 8
_VARINT_SHIFTS: Final = tuple(range(7, 7 * _VARINT_BYTES_MAX, 7))
_INTEGER_TOP_MAX: Final = 0x1F
"""The most that the last of a signed integer's eight bytes may hold, for 53 bits in all."""

OBJECT: Final = 118
_LIST: Final = 117
_BYTES: Final = 116
_TEXT: Final = 119
_INTEGER: Final = 125
_CONTAINERS: Final = frozenset({OBJECT, _LIST})
_BARE: Final = frozenset({127, 126, 121, 120})
"""undefined, null, false, true: nothing follows the tag."""
_FIXED_BYTES: Final = {124: 4, 123: 8, 122: 8}
"""float32, float64, bigint: how many bytes follow the tag."""


def read_varint(data: bytes, pos: int, limit: int) -> tuple[int, int]:
    """Return the number at `pos` and the position behind it.

    Raise InvalidUpdate if it is above `limit` or takes more than eight bytes, IndexError if the data end inside it.
    """
    byte = data[pos]
    if byte < 128:
        if byte > limit:
            raise InvalidUpdate(f"The number at byte {pos} is above {limit}.")
        return byte, pos + 1
    number = byte & 127
    start = pos
    for shift in _VARINT_SHIFTS:
        pos += 1
        byte = data[pos]
        if byte < 128:
            number |= byte << shift
            if number > limit:
                raise InvalidUpdate(f"The number at byte {start} is {number}, above {limit}.")
            return number, pos + 1
        number |= (byte & 127) << shift
    raise InvalidUpdate(f"The number at byte {start} takes more than {_VARINT_BYTES_MAX} bytes.")


def read_count(update: bytes, pos: int) -> tuple[int, int]:
    """Read how many things follow. Each takes a byte at least: a larger claim is refused before anything is made."""
    count, after = read_varint(update, pos, LENGTH_MAX)
    if count > len(update) - after:
        raise InvalidUpdate(f"Byte {pos} claims {count} items, but only {len(update) - after} bytes follow.")
    return count, after


def skip_text(update: bytes, pos: int) -> int:
    """Return the position behind a string."""
    size = update[pos]
    begin = pos + 1
    if size > 127:
        size, begin = read_varint(update, pos, LENGTH_MAX)
    end = begin + size
    try:
        update[begin:end].decode()
    except UnicodeDecodeError:
        raise InvalidUpdate(f"The text at byte {pos} is not UTF-8.") from None
    return end


def read_text(update: bytes, pos: int) -> tuple[str, int]:
    """Return the string at `pos` and the position behind it."""
    end = skip_text(update, pos)
    _, begin = read_varint(update, pos, LENGTH_MAX)
    return update[begin:end].decode(), end


def skip_values(update: bytes, pos: int, count: int, depth_max: int) -> int:  # noqa: C901, PLR0912 - the hot loop
    """Return the position behind `count` values of lib0's "any" encoding.

    Texts are not decoded one by one. What lies between two binary parts is texts, tags and short lengths; the latter
    are ASCII, over which no UTF-8 sequence reaches, so that such a stretch is UTF-8 if and only if its texts are.
    """
    left, keyed = count, False
    outer: list[tuple[int, bool]] = []
    begin = pos  # of the stretch
    try:
        while True:
            while left:
                left -= 1
                if not keyed:
                    pos += 1
                elif (size := update[pos]) < 128:
                    pos += size + 2
                else:
                    size, begin = _end_stretch(update, begin, pos)
                    pos = begin + size + 1
                tag = update[pos - 1]
                if tag == _TEXT:
                    size = update[pos]
                    if size < 128:
                        pos += size + 1
                    else:
                        size, begin = _end_stretch(update, begin, pos)
                        pos = begin + size
                elif tag == _INTEGER:
                    if update[pos] < 128:
                        pos += 1
                    else:
                        update[begin:pos].decode()
                        pos = begin = _skip_integer(update, pos)
                elif tag in _CONTAINERS:
                    outer.append((left, keyed))
                    if len(outer) > depth_max:
                        raise InvalidUpdate(f"The value at byte {pos - 1} is nested more than {depth_max} levels deep.")
                    left = update[pos]
                    if left < 128:
                        pos += 1
                    else:
                        left, begin = _end_stretch(update, begin, pos)
                        pos = begin
                    keyed = tag == OBJECT
                elif tag not in _BARE:
                    update[begin : pos - 1].decode()
                    pos = begin = pos + _FIXED_BYTES[tag] if tag in _FIXED_BYTES else _skip_bytes(update, pos, tag)
            if not outer:
                update[begin:pos].decode()
                return pos
            left, keyed = outer.pop()
    except UnicodeDecodeError as error:
        raise InvalidUpdate(f"The text at byte {begin + error.start} is not UTF-8.") from None


def _end_stretch(update: bytes, begin: int, pos: int) -> tuple[int, int]:
    """Check the stretch that ends where a length of several bytes stands, and read that."""
    update[begin:pos].decode()
    return read_count(update, pos)


def _skip_bytes(update: bytes, pos: int, tag: int) -> int:
    """Return the position behind the bytes that follow their tag, the last there is."""
    if tag != _BYTES:
        raise InvalidUpdate(f"The value at byte {pos - 1} is of kind {tag}, which does not exist.")
    size, pos = read_count(update, pos)
    return pos + size


def _skip_integer(update: bytes, pos: int) -> int:
    """Return the position behind a signed integer of more than one byte: 6 bits in the first, 7 in each other."""
    for end in range(pos + 1, pos + _VARINT_BYTES_MAX):
        if update[end] < 128:
            if end == pos + _VARINT_BYTES_MAX - 1 and update[end] > _INTEGER_TOP_MAX:
                break
            return end + 1
    raise InvalidUpdate(f"The integer at byte {pos} is beyond JavaScript's safe integers.")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_number(digits: str) -> float:
    """Refuse what serde_json, which yrs reads JSON with, does not take for a number."""
    number = float(digits)
    if number in {float("inf"), float("-inf")}:
        raise ValueError("the number is out of range")
    return number


def _check_integer(digits: str) -> float:
    if len(digits) < 21 and 2**63 <= int(digits) < 2**64:
        raise ValueError("the number is out of range")
    return _check_number(digits)


_JSON_DECODER: Final = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_check_number, parse_int=_check_integer
)
_JSON_BRACKETS: Final = re.compile(r'"(?:[^"\\]+|\\.)*+"?|([\[{])|[\]}]', re.DOTALL)
_JSON_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def check_json(text: str, at: int, depth_max: int) -> None:
    """Raise InvalidUpdate unless both JSON.parse and serde_json take the text; its depth comes first."""
    depth = 0
    for token in _JSON_BRACKETS.finditer(text):
        if token[1]:
            depth += 1
            if depth > depth_max:
                raise InvalidUpdate(f"The JSON at byte {at} is nested more than {depth_max} levels deep.")
        elif token[0] in {"]", "}"}:
            depth -= 1
    try:
        value = _JSON_DECODER.decode(text)
        if _JSON_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # raises for half a surrogate pair
    except ValueError:
        raise InvalidUpdate(f"The JSON at byte {at} cannot be read.") from None
