"""What a struct holds, kind by kind, checked as it is read (pure).

Each function returns the content's length in clocks and the position behind it. Reading behind the end raises
IndexError, which is the caller's to turn into a sentence; whatever else is wrong raises InvalidUpdate, naming the byte.
"""

from collections.abc import Callable
from typing import Final

from boardlog.errors import InvalidUpdate
from boardlog.lib0 import OBJECT, check_json, read_count, read_text, read_varint, skip_text, skip_values
from boardlog.links import ANY, BINARY, DELETED, DOC, EMBED, FORMAT, STRING, TYPE

VALUE_DEPTH_MAX: Final = 32
"""Levels of lists and objects in one value. Thousands overflow every browser's decoder and crash pycrdt."""
CLOCK_MAX: Final = 2**31 - 1
"""Where a range of clocks ends at the latest: yrs counts in 32 bits."""
CLIENT_MAX: Final = 2**53 - 1
"""The highest client id: JavaScript's largest safe integer. yrs drops the bits above."""

_PLAIN_TYPES: Final = frozenset({0, 1, 2, 4, 6})  # array, map, text, XML fragment, XML text
_XML_ELEMENT: Final = 3
_OWN_GUID: Final = b"\x04guid"
"""No editor writes such a key anywhere in a subdocument's options: they are `gc`, `autoLoad` and `meta`."""


def _read_deleted(update: bytes, pos: int, _depth_max: int) -> tuple[int, int]:
    return read_varint(update, pos, CLOCK_MAX)


def _read_binary(update: bytes, pos: int, _depth_max: int) -> tuple[int, int]:
    size, pos = read_count(update, pos)
    return 1, pos + size


def _read_string(update: bytes, pos: int, _depth_max: int) -> tuple[int, int]:
    text, end = read_text(update, pos)
    # JavaScript counts a character beyond the first 65,536 as two.
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2, end


def _read_embed(update: bytes, pos: int, depth_max: int) -> tuple[int, int]:
    text, end = read_text(update, pos)
    check_json(text, pos, depth_max)
    return 1, end


def _read_format(update: bytes, pos: int, depth_max: int) -> tuple[int, int]:
    return _read_embed(update, skip_text(update, pos), depth_max)


def _read_type(update: bytes, pos: int, _depth_max: int) -> tuple[int, int]:
    kind = update[pos]
    pos += 1
    if kind == _XML_ELEMENT:
        pos = skip_text(update, pos)
    elif kind not in _PLAIN_TYPES:
        # An XML hook (5) is followed by a name for yjs and by nothing for yrs.
        raise InvalidUpdate(f"The shared type at byte {pos - 1} is of kind {kind}, which is not known here.")
    return 1, pos


def _read_any(update: bytes, pos: int, depth_max: int) -> tuple[int, int]:
    count, pos = read_count(update, pos)
    return count, skip_values(update, pos, count, depth_max)


def _read_doc(update: bytes, pos: int, depth_max: int) -> tuple[int, int]:
    pos = skip_text(update, pos)
    if update[pos] != OBJECT:
        # yjs reads properties of it, which throws for null and undefined.
        raise InvalidUpdate(f"The options of the subdocument at byte {pos} are not an object.")
    end = skip_values(update, pos, 1, depth_max)
    if _OWN_GUID in update[pos:end]:
        # It takes the place of the one before it. As a number it shifts all texts that a browser encodes with it, those
        # of others too, while they wait for something.
        raise InvalidUpdate(f"The options of the subdocument at byte {pos} name it a second time.")
    return 1, end


# JSON content (2) is of old yjs versions only, and yrs reads one string more of it than there is.
CONTENTS: Final[dict[int, Callable[[bytes, int, int], tuple[int, int]]]] = {
    DELETED: _read_deleted,
    BINARY: _read_binary,
    STRING: _read_string,
    EMBED: _read_embed,
    FORMAT: _read_format,
    TYPE: _read_type,
    ANY: _read_any,
    DOC: _read_doc,
}
