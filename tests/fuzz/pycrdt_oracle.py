"""`python -m tests.fuzz.pycrdt_oracle`: what our own readers, and pycrdt below them, make of updates.

A process of its own: some bytes kill it. JSON lines in, one answer each, until standard input ends:
{"histories": [[update in base64, ...], ...]} -> {"outcomes": [...]}.
"""

import base64
import json
import math
import sys
from collections.abc import Mapping
from typing import Any

from pycrdt import Array, Doc, Map, Text

from boardlog.board_state import BoardState
from boardlog.errors import InvalidUpdate
from boardlog.growing import Growing
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE, Folded, fold, is_panic, parse_state_vector, union
from boardlog.update import dissect


def plain(value: Any) -> Any:
    """Return a value as JSON that can be compared with what yjs shows (tests/clients/oracle.mjs)."""
    match value:
        case Map():
            return {key: _at(value, key) for key in value}
        case Array():
            return "array"  # yrs never comes to the end of one that holds a text with a long character
        case Text():
            return str(value)
        case bool() | None | str():
            return value
        case int():
            return float(value)
        case float():
            return value if math.isfinite(value) else None
        case bytes() | bytearray():
            return [float(byte) for byte in value]
        case list() | tuple():
            return [plain(one) for one in value]
        case Mapping():
            return {key: plain(one) for key, one in value.items()}
        case Doc():
            return "doc"
        case _:
            return "xml"


def _at(records: "Map[Any]", key: str) -> Any:
    try:
        return plain(records[key])
    except KeyError:
        return None  # what a text's format is, where a value should be: yjs shows null


def deleted(update: bytes) -> dict[str, Any] | None:
    """Return the deletions of a document; None where yrs writes what it does not read: a text cut in a character."""
    try:
        ranges, _ = dissect(update)
    except InvalidUpdate:
        return None
    return {str(client): intervals for client, intervals in union([ranges.deletes]).items()}


def outcome(updates: list[bytes]) -> dict[str, Any]:
    """Fold a history as workers and nodes do, and let a document grow by it as the bridge does."""
    folded = fold(EMPTY_UPDATE, updates)
    if folded.rejected:
        return {"failed": f"The fold rejects {folded.rejected}."}
    Growing(Doc(), folded)
    # What a node sends of it: to whoever has nothing, and to whoever has what came first.
    first = BoardState(EMPTY_UPDATE, updates[:1]).state_vector()
    lacking = BoardState(folded.state, []).lacking(first)
    told = {
        "state": base64.b64encode(folded.state).decode(),
        "lacking": [base64.b64encode(update).decode() for update in (updates[0], *lacking)],
    }
    doc: Doc[Any] = Doc(client_id=3)
    growing = Growing(doc, Folded(EMPTY_UPDATE, EMPTY_STATE_VECTOR, []))
    try:
        for update in updates:
            growing.take(update)
    except InvalidUpdate as error:
        return told | {"dropped": str(error)}  # the bridge makes its copy anew, from the folded state
    records, others = doc.get("tldraw", type=Map), doc.get("m", type=Map)
    # No text: yrs does not cut inside a character, and keeps or deletes another half than yjs does.
    content = {"tldraw": plain(records), "m": plain(others)}
    vector = parse_state_vector(doc.get_state())
    deletions = deleted(doc.get_update())
    records["mine"] = 1
    return told | {
        "vector": {str(client): clock for client, clock in vector.items() if clock},
        "deletions": deletions,
        "content": content,
    }


def guarded(updates: list[bytes]) -> dict[str, Any]:
    try:
        return outcome(updates)
    except BaseException as error:
        if isinstance(error, Exception) or is_panic(error):
            return {"failed": f"{type(error).__name__}: {error}"}
        raise


def main() -> None:
    for line in sys.stdin:
        histories = json.loads(line)["histories"]
        outcomes = [guarded([base64.b64decode(update) for update in history]) for history in histories]
        print(json.dumps({"outcomes": outcomes}), flush=True)


if __name__ == "__main__":
    main()
