"""Mutants of real updates: what `validate` takes, neither yjs nor our readers choke on, and both read alike (G6)."""

import base64
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text, merge_updates

from boardlog.contents import VALUE_DEPTH_MAX
from boardlog.errors import InvalidUpdate
from boardlog.links import Ranges
from boardlog.merge import EMPTY_UPDATE
from boardlog.update import TYPE_DEPTH_MAX, validate, validate_walking
from tests.fuzz.oracles import History, Oracle, oracles
from tests.fuzz.seeds import again, seeds
from tests.fuzz.updates import How, Mutator

KEPT_SEEDS = (2091748248, 1848958398, 295346502)
MUTANTS_PER_SEED = 1200
AT_ONCE = 160
"""Histories judged in one exchange."""
CONTRADICTED = (
    "Cannot read properties of undefined (reading 'origin')",
    "Cannot read properties of undefined (reading 'id')",
    "Error: Unexpected case",
)
"""What yjs throws for what somebody has forged in an earlier update, as content that is gone or reaches further.

`validate` sees one update at a time and takes both. Browsers that are open miss the later one; those who join get it.
"""


@pytest.fixture(scope="module")
def readers() -> Iterator[tuple[Oracle, Oracle]]:
    with oracles() as both:
        yield both


def taken(validated: Callable[[], Ranges]) -> Ranges | None:
    """Return what an update speaks of, None if it is refused."""
    try:
        return validated()
    except InvalidUpdate:
        return None


def yjs_session(yjs: Oracle, seed: int) -> list[bytes]:
    return [base64.b64decode(update) for update in yjs.ask(seed=seed, steps=14)["updates"]]


def pycrdt_session(chance: random.Random) -> list[bytes]:
    """Return the updates of two documents of pycrdt that edit at once."""
    updates: list[bytes] = []
    docs: list[Doc[Any]] = [Doc(client_id=chance.getrandbits(32) | 1) for _ in range(2)]
    for doc in docs:
        doc.observe(lambda event: updates.append(event.update))
    for _ in range(8):
        doc = chance.choice(docs)
        if chance.random() < 0.5:
            doc.apply_update(merge_updates(*updates) if updates else EMPTY_UPDATE)
        records, things, words = doc.get("tldraw", type=Map), doc.get("a", type=Array), doc.get("t", type=Text)
        with doc.transaction():
            records[f"shape:{chance.randrange(5)}"] = {
                "x": chance.random(),
                "props": {"text": "😀" * chance.randrange(3)},
            }
            things.insert(0, chance.choice([1, None, "é😀", b"\xff", Map({"q": 1}), Text("deep"), {"a": [True]}]))
            word = chance.choice(["abc", "😀"])
            words.insert(0, word)
            words.format(0, len(word.encode()), {"bold": chance.choice([True, None])})
            if chance.random() < 0.5:
                del things[chance.randrange(len(things))]
                records.pop(chance.choice(list(records)))
    return list(dict.fromkeys(updates))


_LONG_OR_HALF = re.compile("[\U00010000-\U0010ffff\ufffd\ud800-\udfff]")


def sanitised(value: Any) -> Any:
    """Return JSON without what a cut inside a character may or may not have left of it (merge.fold is early there)."""
    match value:
        case str():
            return _LONG_OR_HALF.sub("", value) if not value.isascii() else value
        case int():
            return float(value)
        case list():
            return [sanitised(one) for one in value]
        case dict():
            # For JavaScript that key is no key.
            return {sanitised(key): sanitised(one) for key, one in value.items() if key != "__proto__"}
        case _:
            return value


def what_differs(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names of what both tell, and tell differently."""
    both = [
        (name, one[name], other[name])
        for name in ("vector", "deletions", "array")
        if one.get(name) is not None and other.get(name) is not None
    ]
    if "content" in one:
        both += [(name, value, other["content"][name]) for name, value in one["content"].items()]
    return [name for name, mine, theirs in both if sanitised(mine) != sanitised(theirs)]


def joined(outcome: dict[str, Any]) -> dict[str, Any]:
    """Bring deletions into the form in which they can be compared: in order, and touching ones joined."""
    if outcome.get("deletions") is None:
        return outcome
    ranges: dict[str, list[list[int]]] = {}
    for client, some in outcome["deletions"].items():
        for begin, end in sorted(map(tuple, some)):
            if (mine := ranges.setdefault(client, [])) and begin <= mine[-1][1]:
                mine[-1][1] = max(end, mine[-1][1])
            else:
                mine.append([begin, end])
    return {**outcome, "deletions": ranges}


def decoded(updates: Sequence[str]) -> list[bytes]:
    return [base64.b64decode(update) for update in updates]


def contradicted(outcome: dict[str, Any]) -> bool:
    return any(text in outcome.get("threw", "") for text in CONTRADICTED)


def finds(histories: Sequence[History], readers: tuple[Oracle, Oracle], how: How) -> list[tuple[History, str]]:
    """Return the histories on which a reader chokes, or coherent ones which they read differently."""
    yjs, pycrdt = readers
    found: list[tuple[History, str]] = []
    ours = pycrdt.outcomes(histories)
    # Browsers that follow from the beginning, one that joins later, and one that comes back.
    browsers: list[list[History]] = []
    for history, our in zip(histories, ours, strict=True):
        if "failed" in our:
            found.append((history, f"pycrdt: {our['failed']}"))
            browsers.append([history])
        else:
            browsers.append(
                [history, decoded([our["state"]]), *([decoded(our["lacking"])] if len(history) > 1 else [])]
            )
    theirs = iter(yjs.outcomes([history for some in browsers for history in some]))
    for history, our, some in zip(histories, ours, browsers, strict=True):
        follower, *others = [next(theirs) for _ in some]
        threw = [one for one in (follower, *others) if "vector" not in one]
        found += [(history, f"yjs: {one}") for one in threw if how is not How.FORGED or not contradicted(one)]
        if how is not How.COHERENT or threw:
            continue
        for who, one in zip(("pycrdt", "A joiner", "One that comes back"), [our, *others], strict=False):
            if names := what_differs(joined(one), joined(follower)):
                found.append((history, f"{who} differs from yjs in {names}: {one} instead of {follower}"))
    return found


def orders(chance: random.Random, mutants: Sequence[bytes], whole: Sequence[bytes]) -> list[History]:
    """Return the orders in which a mutant may meet the updates that it was made of, and another mutant."""
    mutant = mutants[-1]
    among = [*whole, *mutants]
    chance.shuffle(among)
    return [[mutant], chance.choice([[*whole, mutant], [mutant, *whole]]), among]


@pytest.mark.parametrize("how", list(How))
@pytest.mark.parametrize("seed", seeds(KEPT_SEEDS))
def test_G6_what_is_accepted_hurts_no_reader_and_is_read_alike(
    seed: int, how: How, readers: tuple[Oracle, Oracle]
) -> None:
    chance = random.Random(f"{seed} {how}")
    updates = pycrdt_session(chance) if chance.random() < 0.3 else yjs_session(readers[0], seed)
    third = -(-len(updates) // 3)
    whole = [merge_updates(*updates[begin : begin + third]) for begin in range(0, len(updates), third)]
    mutator = Mutator(chance, [*updates, *whole])
    accepted: list[bytes] = [updates[0]]
    counts: Counter[str] = Counter()
    waiting: list[History] = []

    def judge() -> None:
        counts["histories"] += len(waiting)
        assert_none(finds(waiting, readers, how), seed)
        waiting.clear()

    for _ in range(MUTANTS_PER_SEED // len(How)):
        counts["mutants"] += 1
        mutant = mutator.mutant(how)
        ranges = taken(lambda mutant=mutant: validate(mutant))
        assert ranges == taken(lambda mutant=mutant: validate_walking(mutant, VALUE_DEPTH_MAX, TYPE_DEPTH_MAX)), mutant
        if ranges is None:
            continue
        counts["accepted"] += 1
        accepted.append(mutant)
        waiting += orders(chance, [chance.choice(accepted), mutant], whole)
        if len(waiting) >= AT_ONCE:
            judge()
    judge()
    print(f"seed {seed}, {how.value}: {dict(counts)}")


def assert_none(found: Sequence[tuple[History, str]], seed: int) -> None:
    for history, what in found[:5]:
        print(f"{what}\n   updates: {[update.hex() for update in history]}")
    assert not found, f"{len(found)} finds, printed above. Again: {again(seed, __name__)}"
