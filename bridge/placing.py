"""Where a new shape goes: the page, and its place in the stack (pure)."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from fractional_indexing import generate_key_between

from bridge.shapes import Record, Records, each, find_record

FIRST_PAGE = "page:page"
"""Every canvas makes its first page under this name, so that two that open a fresh board at once make the same one."""
JITTER_DIGITS = 3
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_INTEGER_HEAD = re.compile(r"[B-Za-x]")

RandomBits = Callable[[int], int]
"""`random.getrandbits` or the like: a number of so many random bits."""


def page_for_new(records: Records) -> tuple[str, dict[str, Record]]:
    """Return the key of the page that new items go to, and what a board lacks that no browser has opened yet."""
    missing: dict[str, Record] = {}
    if find_record(records, "document:document", "document") is None:
        missing["document:document"] = {
            "id": "document:document", "typeName": "document", "gridSize": 10, "name": "", "meta": {},
        }  # fmt: skip
    if find_record(records, FIRST_PAGE, "page") is not None:
        return FIRST_PAGE, missing
    pages = sorted((str(page.get("index")), page["id"]) for page in each(records, "page"))
    if pages:
        return pages[0][1], missing
    missing[FIRST_PAGE] = {"id": FIRST_PAGE, "typeName": "page", "name": "Page 1", "index": "a1", "meta": {}}
    return FIRST_PAGE, missing


def index_above(records: Records, parent_id: str, random_bits: RandomBits) -> str:
    """Return an index key above all that this page or shape holds.

    Two writers who choose at once must not choose the same key, which would make "send backward" throw: hence the
    random digits. The last is no 0, which no key may end with.
    """
    siblings = (shape.get("index") for shape in each(records, "shape") if shape.get("parentId") == parent_id)
    key = generate_key_between(_highest(siblings), None)
    drawn = random_bits(32)
    for _ in range(JITTER_DIGITS - 1):
        drawn, digit = divmod(drawn, len(_DIGITS))
        key += _DIGITS[digit]
    return f"{key}{_DIGITS[1 + drawn % (len(_DIGITS) - 1)]}"


def _highest(indexes: Iterable[Any]) -> str | None:
    """Return the highest integer part of index keys: what is above that is above the whole key."""
    return max((integer for index in indexes if (integer := integer_part(index))), default=None)


def integer_part(index: Any) -> str | None:
    """Return the digits of an index key before its fraction; None if it has none, or is too far out to be honest.

    The first letter tells how many there are: Z and a two, Y and b three, and so on. The outermost letters, on whose
    meaning the canvas and the library here differ, are beyond any board's reach and not minded.
    """
    if not isinstance(index, str) or not _INTEGER_HEAD.match(index):
        return None
    digits = ord(index[0]) - ord("a") + 2 if index[0] >= "a" else ord("Z") - ord(index[0]) + 2
    integer = index[:digits]
    return integer if len(integer) == digits and set(integer) <= set(_DIGITS) else None
