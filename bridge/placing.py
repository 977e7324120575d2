"""Where a new shape goes: the page, and its place in the stack (pure)."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from fractional_indexing import FIError, generate_key_between

from bridge.shapes import Record, Records, each, find_record

FIRST_PAGE = "page:page"
"""Every canvas makes its first page under this name, so that two that open a fresh board at once make the same one."""
INDEX_CHARS_MAX = 400
"""Longer index keys in the board are hostile, and not minded."""
JITTER_DIGITS = 3
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_INDEX = re.compile(r"[A-Za-z][0-9A-Za-z]*")

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
    """Return the highest valid index key."""
    for index in sorted({index for index in indexes if isinstance(index, str)}, reverse=True):
        if is_index(index):
            return index
    return None


def is_index(index: str) -> bool:
    """Return whether this is an index key that another can be put above."""
    if len(index) > INDEX_CHARS_MAX or not _INDEX.fullmatch(index):
        return False
    try:
        generate_key_between(index, None)
    except FIError:
        return False
    return True
