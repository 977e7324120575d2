"""Plain text <-> the canvas's rich text (a ProseMirror document) (pure).

The canvas barely validates rich text, yet an empty text node crashes the whole editor: none is ever made here.
"""

import re
from typing import Any

RichText = dict[str, Any]

NODES_READ_MAX = 20_000
"""A rich text is read this far: an agent's longest text, one line for every character, fits."""
TEXT_READ_CHARS_MAX = 100_000
_TEXT_BLOCKS = ("paragraph", "heading", "codeBlock")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BOLD = {"type": "bold"}


def clean_text(text: str) -> str:
    r"""Return `text` as the canvas can show it: line ends are `\n`, control characters other than tabs are gone."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def clean_line(text: str) -> str:
    """Return `text` cleaned and in one line."""
    return clean_text(text).replace("\n", " ")


def rich_text(text: str, title: str = "") -> RichText:
    """Return clean text as paragraphs, one a line, below a title as a bold line of its own if there is one."""
    lines = text.split("\n") if text or not title else []
    head = [{"type": "paragraph", "content": [{"type": "text", "text": title, "marks": [_BOLD]}]}] if title else []
    return {"type": "doc", "content": [*head, *map(_paragraph, lines)]}


def _paragraph(line: str) -> RichText:
    return {"type": "paragraph", "content": [{"type": "text", "text": line}]} if line else {"type": "paragraph"}


def plain_text(rich: Any) -> str:
    """Return the text of any rich text, one line for each paragraph, list item and so on; anything else is "".

    Walks without recursion and no further than NODES_READ_MAX and TEXT_READ_CHARS_MAX: others wrote it.
    """
    lines: list[list[str]] = []
    waiting = [rich]
    for _ in range(NODES_READ_MAX):
        if not waiting:
            break
        node = waiting.pop()
        if not isinstance(node, dict):
            continue
        kind, text = node.get("type"), node.get("text")
        if kind in _TEXT_BLOCKS or kind == "hardBreak":
            lines.append([])
        if kind == "text" and isinstance(text, str):
            lines = lines or [[]]
            lines[-1].append(text)
        waiting += reversed(_children(node)[:NODES_READ_MAX])
    return "\n".join("".join(parts) for parts in lines)[:TEXT_READ_CHARS_MAX]


def split_title(rich: Any) -> tuple[str, str]:
    """Return a rich text's title, "" if it does not begin with a bold line, and the text below."""
    blocks = _children(rich) if isinstance(rich, dict) else []
    if not blocks or not _is_bold_line(blocks[0]):
        return "", plain_text(rich)
    return plain_text(blocks[0]), plain_text({"type": "doc", "content": blocks[1:]})


def _is_bold_line(block: Any) -> bool:
    if not isinstance(block, dict) or block.get("type") not in _TEXT_BLOCKS:
        return False
    parts = _children(block)
    return bool(parts) and all(isinstance(part, dict) and _is_bold(part) for part in parts)


def _is_bold(node: RichText) -> bool:
    marks = node.get("marks")
    return (
        node.get("type") == "text"
        and isinstance(node.get("text"), str)
        and isinstance(marks, list)
        and any(isinstance(mark, dict) and mark.get("type") == "bold" for mark in marks)
    )


def _children(node: RichText) -> list[Any]:
    content = node.get("content")
    return content if isinstance(content, list) else []
