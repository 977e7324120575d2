"""JSON values that others wrote: what may enter a document, how to read what stands there, how to merge (pure)."""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from bridge.errors import FieldError

EXACT_INTEGER_MAX = 2**53 - 1
"""Larger ones become BigInts in a browser, which the canvas rejects together with their whole record."""
DEPTH_READ_MAX = 32
"""As deep as the relay lets any update nest; what is deeper reads as null."""
FORBIDDEN_KEY = "__proto__"
"""As a key it would set the prototype of the object that a browser decodes, and the canvas would reject the record."""

Loc = tuple[str | int, ...]


def find_problems(value: Any, depth_max: int) -> Iterator[tuple[Loc, str]]:
    """Yield where and why a value cannot be stored exactly; goes no deeper than `depth_max` levels of containers."""
    waiting: list[tuple[Loc, Any]] = [((), value)]
    while waiting:
        loc, inner = waiting.pop()
        if isinstance(inner, (dict, list)) and len(loc) >= depth_max:
            yield loc, f"This is nested more than {depth_max} levels deep: flatten it."
        elif isinstance(inner, dict):
            yield from ((loc, problem) for key in inner if (problem := _problem_of_key(key)))
            waiting += [((*loc, key), part) for key, part in reversed(inner.items())]
        elif isinstance(inner, list):
            waiting += [((*loc, number), part) for number, part in reversed([*enumerate(inner)])]
        elif problem := _problem_of_leaf(inner):
            yield loc, problem


def _problem_of_key(key: Any) -> str | None:
    if key == FORBIDDEN_KEY:
        return f"A field cannot be called {FORBIDDEN_KEY}."
    if not isinstance(key, str) or not is_unicode(key):
        return "A field's name is not valid Unicode."
    return None


def _problem_of_leaf(value: Any) -> str | None:
    match value:
        case str():
            return None if is_unicode(value) else "This holds half a surrogate pair: send valid Unicode."
        case bool() | None:
            return None
        case int():
            return None if abs(value) <= EXACT_INTEGER_MAX else "This number is too large to keep: send it as text."
        case float():
            return None if isfinite(value) else "This is not a finite number."
    return "This is not a JSON value."


def is_unicode(text: str) -> bool:
    r"""Return whether it can be encoded: JSON's `\ud800` alone cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def field_error(loc: Loc, message: str, chars_max: int = 200) -> FieldError:
    """Return the error with the place spelled as `content.text`; a hostile name is cut and made printable."""
    name = ".".join(str(part) for part in loc)[:chars_max] or "item"
    return FieldError(name.encode("utf-8", "backslashreplace").decode(), message)


def merge_patch(target: Any, patch: Any) -> Any:
    """Return `target` with a JSON merge patch applied (RFC 7396): null removes, objects merge, all else replaces.

    Neither argument is changed. Recurses as deep as the patch: check that with `find_problems` before.
    """
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def readable(value: Any, depth: int = DEPTH_READ_MAX) -> Any:
    """Return a document's value as JSON: 1.0 as 1, and null for what JSON has no words for (NaN, bytes, too deep)."""
    match value:
        case str():
            return value if is_unicode(value) else None
        case bool() | None:
            return value
        case int() | float():
            return None if number(value) is None else tidy(value)
        case dict() if depth > 0:
            return {key: readable(part, depth - 1) for key, part in value.items() if isinstance(key, str)}
        case list() if depth > 0:
            return [readable(part, depth - 1) for part in value]
    return None


def number(value: Any) -> float | None:
    """Return a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if isfinite(value) else None
    except OverflowError:
        return None


def tidy(number: float) -> int | float:
    """Return whole numbers as integers: a document gives all its numbers back as floats."""
    return int(number) if number == int(number) and abs(number) <= EXACT_INTEGER_MAX else number
