"""The changes that the load sends, and how their deliveries are counted."""

from benchmarks.load.deliveries import Deliveries, Feed
from benchmarks.updates import MARKER, Author, last_marker, records_in


def test_every_change_is_found_in_the_bytes_of_its_update() -> None:
    author = Author(client=1)
    # Past the clocks in which the byte that ends a marker occurs.
    assert [last_marker(author.put(number % 3)) for number in range(400)] == list(range(1, 401))
    assert last_marker(author.put(0, 1)) == 402
    assert author.changes == 402
    assert last_marker(b"nothing of ours") == 0
    assert last_marker(b"#00000") == 0


def test_a_reader_that_has_all_updates_has_the_board_as_it_was_left() -> None:
    author = Author(client=1)
    updates = [author.put(0, 1), author.put(1), author.put(2)]
    records = records_in(updates)
    assert {name: MARKER.search(str(record).encode())[1] for name, record in records.items()} == {  # type: ignore[index]
        "shape:00000000": b"000000001",
        "shape:00000001": b"000000003",
        "shape:00000002": b"000000004",
    }


def test_a_merged_delivery_counts_for_each_change_from_when_it_was_due() -> None:
    deliveries = Deliveries(expected=3)
    feed = Feed(deliveries, after=10)
    for due in (1.0, 2.0, 3.0):
        feed.send(due)
    seen = feed.take(0, 11, now=1.5)
    assert not deliveries.complete.is_set()
    seen = feed.take(seen, 13, now=3.5)
    assert feed.take(seen, 12, now=9.0) == 13, "what came before is not counted again"
    assert list(deliveries.latencies) == [0.5, 1.5, 0.5]
    assert deliveries.complete.is_set()


def test_what_was_there_before_is_not_counted() -> None:
    deliveries = Deliveries(expected=1)
    assert Feed(deliveries, after=10).take(0, 10, now=1.0) == 10
    assert deliveries.count == 0
