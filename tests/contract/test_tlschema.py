"""Whatever the bridge writes passes the canvas's own validators: `@tldraw/tlschema`, the version that is shipped."""

import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boardlog.ids import BoardId
from bridge.asset_records import Asset
from bridge.compose import apply_patch, create
from bridge.errors import InvalidItem
from bridge.items import ITEM_TYPES, Align, Dash, Fill, Font, GeoName, Size, parse_item
from bridge.palette import COLORS
from bridge.pictures import read_picture
from bridge.placing import index_above
from tests.itemstrategies import items, patches
from tests.picturefiles import MIME_TYPES, picture_file

VALIDATOR = Path(__file__).parents[1] / "tlschema"
SECONDS_MAX = 60
Record = dict[str, Any]


def problems(records: Sequence[Any]) -> list[tuple[Any, str]]:
    """Return the records that the canvas refuses, with its reason."""
    node = shutil.which("node")
    if node is None:
        pytest.fail("These tests need Node 20 or newer on the PATH.")
    if not (VALIDATOR / "node_modules").is_dir():
        pytest.fail("The canvas's validators are not installed: run `make test`, or `npm ci` in tests/tlschema.")
    lines = "".join(json.dumps(record) + "\n" for record in records)
    command = [node, str(VALIDATOR / "validate.mjs")]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(records)
    return [(record, answer["error"]) for record, answer in zip(records, answers, strict=True) if not answer["ok"]]


def composed(data: Iterable[Record]) -> list[Record]:
    bits = Random(1).getrandbits
    return [record for one in data for record in create({}, parse_item(one), "i1", bits).values()]


CONTENT: dict[str, Record] = {
    "sticky": {"text": "a\n\nb", "mine": {"deep": [1.5, None, True]}},
    "text": {"text": ""},
    "shape": {"text": "label"},
    "frame": {"title": "Title\nmore"},
    "image": {"url": "data:image/png;base64,iVBORw0KGgo=", "alt": "alt"},
    "document": {"title": "Title", "text": "text"},
}
LOOKS: dict[str, Sequence[Any]] = {
    "color": [*COLORS, "#abc", "#123456"],
    "fill": get_args(Fill),
    "dash": get_args(Dash),
    "font": get_args(Font),
    "size": get_args(Size),
    "align": get_args(Align),
    "opacity": [0, 0.5, 1],
}
SIZES: list[Record] = [{}, {"width": 1}, {"height": 10_000}, {"width": 0.1 + 1, "height": 10_000}]


def test_the_validators_do_refuse() -> None:
    [shape] = [record for record in composed([{"type": "sticky", "x": 0, "y": 0, "content": {"text": "a"}}])
               if record["typeName"] == "shape"]  # fmt: skip
    props = shape["props"]
    broken = [
        shape | {"x": "1"}, shape | {"index": "a"}, shape | {"props": props | {"color": "#ff0000"}},
        shape | {"props": props | {"more": 1}}, {name: value for name, value in shape.items() if name != "meta"},
        {"typeName": "what"}, "text", None,
    ]  # fmt: skip
    assert [record for record, _ in problems([shape, *broken])] == broken


def test_every_type_with_every_style_and_size() -> None:
    styles = [{name: value} for name, values in LOOKS.items() for value in values]
    data: list[Record] = [
        {
            "type": kind,
            "x": -1_000_000,
            "y": 0.5,
            "content": CONTENT[kind],
            "style": style,
            "created_by": "agent",
            **size,
        }
        for kind, style, size in product(ITEM_TYPES, styles, SIZES)
    ]
    data += [{"type": "shape", "x": 0, "y": 0, "content": {"shape": name}} for name in get_args(GeoName)]
    records = composed(data)
    assert len(records) > 2_900
    assert problems(records) == []


def test_items_and_patches_of_all_kinds() -> None:
    records: list[Record] = []
    bits = Random(2).getrandbits

    @settings(max_examples=400, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(ITEM_TYPES).flatmap(lambda kind: st.tuples(items((kind,)), patches(kind))))
    def collect(drawn: tuple[Record, Record]) -> None:
        data, change = drawn
        board: Record = dict(create({}, parse_item(data), "i1", bits))
        board |= apply_patch(board, "i1", change)
        records.extend(board.values())

    collect()
    assert len(records) >= 1_200
    assert problems(records) == []


def test_a_picture_swapped_for_another() -> None:
    bits = Random(3).getrandbits
    image = {"type": "image", "x": 0, "y": 0, "content": {"url": "/a.png"}}
    board: Record = dict(create({}, parse_item(image), "i1", bits))
    board |= {"shape:copy": board["shape:i1"] | {"id": "shape:copy"}}
    seen: list[Record] = []
    for change in (
        {"url": "https://example.org/b.gif"},
        {"url": None, "asset_id": "i1"},
        {"url": "./c", "asset_id": None},
    ):
        board |= apply_patch(board, "i1", {"content": change})
        seen += [record for record in board.values() if record is not None]
    assert problems(seen) == []


@pytest.mark.parametrize("kind", MIME_TYPES)
def test_pictures_that_were_uploaded(kind: str) -> None:
    bits = Random(5).getrandbits
    film = read_picture(picture_file(kind, (7_000, 3), frames=1 if kind == "JPEG" else 2))
    uploads = [Asset(BoardId("a_board"), name, film, 1, "0" * 64, "key") for name in ("pic", "9-_")]
    image = {"type": "image", "x": 0, "y": 0, "content": {"asset_id": "pic"}}
    board: Record = dict(create({}, parse_item(image), "i1", bits, uploads[0]))
    seen = list(board.values())
    change = {"content": {"asset_id": "9-_"}}
    seen += [r for r in apply_patch(board, "i1", change, uploads[1]).values() if r is not None]
    assert {record["id"] for record in seen} >= {"asset:pic", "asset:9-_", "shape:i1"}
    assert problems(seen) == []


def test_every_address_that_is_let_in_is_one_that_the_canvas_takes() -> None:
    hosts = [
        "a", "a.b", "A_b.c", "1.2.3.4", "1.2.3", "256.1.1.1", "0x7f.1", "999999999999", "[::1]", "[::", "xn--a", "a%41",
        "a%00", "a..b", "-", "u:p@a", "a:0", "a:65535", "a:65536", "a:x", "a:", "", ".", "a^b", "a|b", "a<b",
    ]  # fmt: skip
    tails = ["", "/", "?", "#", "/%", "/%zz", "/a'\"`<>{}|^[]~", "?a=//b", "#a#b", "/../..", "/;,:@&=+$!*()"]
    urls = [f"https://{host}{tail}" for host, tail in product(hosts, tails)]
    urls += [f"{start}{tail}" for start, tail in product(["/", "./", "./.", "/a", "/:", "./a:b"], tails)]
    urls += [
        f"data:image/{rest}"
        for rest in ["png,", "svg+xml;utf8,<svg a='#b'/> ", "png;base64,A A", "x-y.z;,%", "png;,?#"]
    ]
    accepted = []
    for url in urls:
        try:
            accepted.append(parse_item({"type": "image", "x": 0, "y": 0, "content": {"url": url}}).model_dump())
        except InvalidItem:
            continue
    assert len(accepted) > 150
    assert problems(composed(accepted)) == []


def test_a_new_index_is_valid_and_above_all_that_the_canvas_takes() -> None:
    rng = Random(4)
    tops = ["a0", "a1V", "a1V0", "Zz", "b0Z", "ZzV", "Xabc1", "B" + "9" * 40, "x" + "z" * 25, "x" + "z" * 24]
    tops += ["".join(rng.choice("abBYZ019V-") for _ in range(rng.randint(1, 30))) for _ in range(2_000)]

    def page(index: str) -> Record:
        return {"id": "page:a", "typeName": "page", "name": "", "index": index, "meta": {}}

    refused = {record["index"] for record, _ in problems([page(top) for top in tops])}
    taken = [top for top in tops if top not in refused]
    assert len(taken) > 500
    above = []
    for top in taken:
        held = {"shape:a": {"id": "shape:a", "typeName": "shape", "index": top, "parentId": "page:page"}}
        above.append(index_above(held, "page:page", rng.getrandbits))
    assert [pair for pair in zip(taken, above, strict=True) if pair[0] >= pair[1]] == []
    assert problems([page(index) for index in above]) == []
