"""What yjs and pycrdt make of an author's updates joined is what they make of the parts (G2, G6)."""

import random
from collections.abc import Iterator

import pytest

from boardlog.update import validate
from tests.fuzz.oracles import Oracle, oracles
from tests.fuzz.seeds import again, seeds
from tests.fuzz.test_fuzz_updates import joined as in_order
from tests.fuzz.test_fuzz_updates import pycrdt_session, what_differs, yjs_session
from tests.unit.test_joining import join

SESSIONS_PER_SEED = 30


@pytest.fixture(scope="module")
def readers() -> Iterator[tuple[Oracle, Oracle]]:
    with oracles() as both:
        yield both


@pytest.mark.parametrize("seed", seeds((11, 42)))
def test_G2_joined_or_not_both_sides_see_the_same(readers: tuple[Oracle, Oracle], seed: int) -> None:
    chance = random.Random(seed)
    count_joined = 0
    for _ in range(SESSIONS_PER_SEED):
        updates = pycrdt_session(chance) if chance.random() < 0.2 else yjs_session(readers[0], chance.getrandbits(32))
        by_author: dict[object, list[bytes]] = {}
        for update in updates:
            by_author.setdefault(min(validate(update).structs, default=None), []).append(update)
        joined = [one for some in by_author.values() for one in join(some)]
        count_joined += len(updates) - len(joined)
        for update in joined:
            validate(update)
        parts_in_order = [update for some in by_author.values() for update in some]
        histories = [parts_in_order, joined]
        for reader in readers:
            parts, whole = [in_order(outcome) for outcome in reader.outcomes(histories)]
            assert not {"failed", "threw"} & (parts.keys() | whole.keys()), (again(seed, __name__), parts, whole)
            if "dropped" not in parts and "dropped" not in whole:  # then the bridge makes its copy anew
                assert not what_differs(parts, whole), (again(seed, __name__), parts, whole)
    assert count_joined > SESSIONS_PER_SEED
