"""Items written as records and read back; what people change in between."""

import contextlib
import json
import math
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boardlog.ids import BoardId
from bridge.asset_records import Asset
from bridge.compose import KEPT_CHARS_MAX, Changes, apply_patch, create, delete
from bridge.decompose import decompose, list_items
from bridge.errors import InvalidItem, ItemExists, ItemNotFound, UnknownAsset
from bridge.items import ITEM_TYPES, parse_item
from bridge.pictures import Picture
from tests.itemstrategies import HOSTILE, hostile_maps, items, patches

Board = dict[str, Any]
NOT_HONOURED = {"sticky": ["height"], "document": ["height"], "text": ["height"]}


def bits(count: int) -> int:
    return Random(7).getrandbits(count)


def write(board: Board, data: dict[str, Any], item_id: str = "i1") -> Board:
    """Return the board as it comes back from the document: every number a float."""
    return through_the_document(board | create(board, parse_item(data), item_id, bits))


def patch(board: Board, change: Any, item_id: str = "i1") -> Board:
    return through_the_document(changed(board, apply_patch(board, item_id, change)))


def changed(board: Board, changes: Changes) -> Board:
    return {key: record for key, record in (board | changes).items() if record is not None}


def through_the_document(board: Board) -> Board:
    def floats(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: floats(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [floats(inner) for inner in value]
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    return floats(board)  # type: ignore[no-any-return]


def item(kind: str, content: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": kind, "x": 10, "y": 20, "content": content, **more}


def paragraph(text: str, *marks: str) -> dict[str, Any]:
    return {"type": "paragraph", "content": [{"type": "text", "text": text, "marks": [{"type": one} for one in marks]}]}


STICKY = item("sticky", {"text": "hello"})
SAMPLES = {
    "sticky": STICKY,
    "text": item("text", {"text": "hello"}, width=120),
    "shape": item("shape", {"text": "hello", "shape": "star"}, width=120, height=80),
    "frame": item("frame", {"title": "hello"}, width=500, height=400),
    "image": item("image", {"url": "https://example.org/a.png", "alt": "A"}, width=64, height=48),
    "document": item("document", {"title": "Title", "text": "hello"}, width=400),
}
PERSONS: Board = {
    "page:page": {"id": "page:page", "typeName": "page", "name": "Page 1", "index": "a1", "meta": {}},
    "document:document": {"id": "document:document", "typeName": "document", "gridSize": 10, "name": "", "meta": {}},
}


def shape(name: str, kind: str, props: dict[str, Any], **more: Any) -> Board:
    """Return a shape that a person made."""
    record = {
        "id": f"shape:{name}", "typeName": "shape", "type": kind, "x": 1, "y": 2, "rotation": 0, "index": "a1",
        "parentId": "page:page", "isLocked": False, "opacity": 1, "props": props, "meta": {},
    }  # fmt: skip
    return {f"shape:{name}": record | more}


def edit(board: Board, key: str = "shape:i1", props: dict[str, Any] | None = None, **record: Any) -> Board:
    """Return the board after a person's edit of one record."""
    old = board[key]
    return board | {key: {**old, **record, "props": {**old["props"], **(props or {})}}}


class TestReadingBack:
    @settings(deadline=None)
    @given(items())
    def test_an_item_comes_back_as_given(self, data: dict[str, Any]) -> None:
        got = decompose(write({}, data), "i1")
        assert json.loads(json.dumps(got, allow_nan=False)) == got
        for name in ("width", "height"):
            given_size, read = data.pop(name, None), got.pop(name, None)
            if given_size is not None and name not in NOT_HONOURED.get(data["type"], []):
                assert read == pytest.approx(given_size, abs=1e-8)
        assert got == {"id": "i1", **data}

    @pytest.mark.parametrize("kind", ITEM_TYPES)
    def test_numbers_are_whole_again(self, kind: str) -> None:
        text = json.dumps(decompose(write({}, SAMPLES[kind]), "i1"))
        assert ".0" not in text

    def test_true_sizes(self) -> None:
        note = write({}, {**STICKY, "width": 300, "height": 50})
        assert note["shape:i1"]["props"]["scale"] == 1.5
        assert [decompose(note, "i1")[name] for name in ("width", "height")] == [300, 300]
        assert decompose(edit(note, props={"growY": 40}), "i1")["height"] == 360
        geo = write({}, SAMPLES["shape"])
        assert decompose(edit(geo, props={"growY": 15}), "i1")["height"] == 95

    def test_a_text_without_a_width_sizes_itself(self) -> None:
        board = write({}, item("text", {"text": "a"}))
        assert board["shape:i1"]["props"] | {"autoSize": True, "w": 8} == board["shape:i1"]["props"]
        assert decompose(board, "i1").keys() & {"width", "height"} == set()
        wrapped = write({}, SAMPLES["text"])
        assert wrapped["shape:i1"]["props"]["autoSize"] is False
        assert decompose(edit(wrapped, props={"scale": 2}), "i1")["width"] == 240

    def test_long_texts_are_not_kept_twice(self) -> None:
        long = "x" * (KEPT_CHARS_MAX + 1)
        board = write({}, item("document", {"text": long, "title": "t", "mine": long}))
        assert board["shape:i1"]["meta"]["content"] == {"title": "t", "mine": long}
        url = "data:image/png;base64," + long
        assert "url" not in write({}, item("image", {"url": url}))["shape:i1"]["meta"]["content"]

    def test_meta(self) -> None:
        data = item("sticky", {"text": "a", "mine": 1}, style={"color": "#f00"}, created_by="agent-7")
        assert write({}, data)["shape:i1"]["meta"] == {
            "dockerclaw_id": "i1", "dockerclaw_type": "sticky", "created_by": "agent-7",
            "content": {"text": "a", "mine": 1}, "style": {"color": "#f00"},
        }  # fmt: skip

    def test_an_item_without_kept_content_is_read_too(self) -> None:
        board = shape("i1", "geo", {"geo": "star", "w": 5, "h": 6, "color": "red", "fill": "none"},
                      meta={"dockerclaw_id": "i1", "dockerclaw_type": "shape", "created_by": "agent-7"})  # fmt: skip
        assert decompose(board, "i1") == {
            "id": "i1", "type": "shape", "x": 1, "y": 2, "width": 5, "height": 6, "content": {"shape": "star"},
            "style": {"color": "red"}, "created_by": "agent-7",
        }  # fmt: skip


class TestPeopleChangeThings:
    @pytest.mark.parametrize("kind", ["sticky", "text", "shape", "document"])
    def test_typed_text_is_read(self, kind: str) -> None:
        board = edit(write({}, SAMPLES[kind]), props={"richText": {"type": "doc", "content": [paragraph("theirs")]}})
        content = decompose(board, "i1")["content"]
        assert content["text"] == "theirs"
        assert content.get("title", "") == ""
        assert content.get("shape", "star") == "star"

    def test_a_documents_title_and_text_are_told_apart(self) -> None:
        rich = {"type": "doc", "content": [paragraph("New", "italic", "bold"), paragraph("hello", "bold")]}
        board = edit(write({}, SAMPLES["document"]), props={"richText": rich})
        assert decompose(board, "i1")["content"] == {"title": "New", "text": "hello"}

    def test_emptied_text_is_read(self) -> None:
        empty = {"type": "doc", "content": [{"type": "paragraph"}]}
        for text in ("hello", "x" * 1000):
            board = edit(write({}, item("sticky", {"text": text, "mine": 1})), props={"richText": empty})
            assert decompose(board, "i1")["content"] == {"text": "", "mine": 1}

    def test_a_renamed_frame(self) -> None:
        for content in ({"title": "a"}, {"text": "a"}, {"text": "x" * 1000}):
            board = edit(write({}, item("frame", content)), props={"name": "theirs"})
            assert decompose(board, "i1")["content"] == {"title": "theirs"}

    def test_a_recoloured_shape(self) -> None:
        board = write({}, {**STICKY, "style": {"color": "#ff0000", "fill": "solid"}})
        board = edit(board, props={"color": "blue", "size": "xl"}, opacity=0.5)
        assert decompose(board, "i1")["style"] == {"color": "blue", "fill": "solid", "size": "xl", "opacity": 0.5}
        assert decompose(edit(write({}, STICKY), props={"color": "red"}), "i1")["style"] == {"color": "red"}

    def test_a_copy_has_another_author(self) -> None:
        board = write({}, {**SAMPLES["document"], "created_by": "agent"})
        copy = {**board["shape:i1"], "id": "shape:copy"}
        assert decompose(board | {"shape:copy": copy}, "copy") == {
            name: value for name, value in decompose(board, "i1").items() if name != "created_by"
        } | {"id": "copy"}

    def test_a_shape_moved_into_a_turned_frame(self) -> None:
        board = write({}, STICKY) | shape("f", "frame", {}, x=100, y=100, rotation=math.pi / 2)
        board = edit(board, parentId="shape:f", x=10, y=0)
        assert decompose(board, "i1") | {"x": 100, "y": 110} == decompose(board, "i1")


class TestPeoplesShapes:
    def test_each_is_the_type_that_fits(self) -> None:
        rich = {"type": "doc", "content": [paragraph("hi")]}
        asset = {"id": "asset:1", "typeName": "asset", "type": "image", "props": {"src": "/a.png"}, "meta": {}}
        huge = asset | {"id": "asset:-2", "props": {"src": "data:image/png;base64," + "A" * 100_000}}
        board = PERSONS | {"asset:1": asset, "asset:-2": huge}
        board |= shape("a", "note", {"richText": rich, "color": "red", "align": "middle", "scale": 1, "growY": 0})
        board |= shape("b", "text", {"richText": rich, "w": 50, "autoSize": False, "textAlign": "end"})
        board |= shape("c", "geo", {"richText": rich, "geo": "cloud", "w": 5, "h": 6})
        board |= shape("d", "frame", {"name": "F", "w": 7, "h": 8})
        board |= shape("e", "image", {"assetId": "asset:1", "w": 9, "h": 9, "altText": "alt"})
        board |= shape("f", "image", {"assetId": "asset:-2", "w": 9, "h": 9, "altText": ""})
        board |= shape("g", "arrow", {"text": "label", "color": "blue"}, opacity=0.25)
        board |= shape("h", "group", {})
        got = {one["id"]: (one["type"], one["content"], one["style"]) for one in list_items(board)}
        assert got == {
            "a": ("sticky", {"text": "hi"}, {"color": "red", "align": "middle", "opacity": 1}),
            "b": ("text", {"text": "hi"}, {"align": "end", "opacity": 1}),
            "c": ("shape", {"text": "hi", "shape": "cloud"}, {"opacity": 1}),
            "d": ("frame", {"title": "F"}, {"opacity": 1}),
            "e": ("image", {"url": "/a.png", "alt": "alt"}, {"opacity": 1}),
            "f": ("image", {"asset_id": "-2", "alt": ""}, {"opacity": 1}),
            "g": ("other", {"type": "arrow", "text": "label"}, {"color": "blue", "opacity": 0.25}),
            "h": ("other", {"type": "group"}, {"opacity": 1}),
        }

    def test_they_can_be_patched_and_keep_what_we_do_not_know(self) -> None:
        board = PERSONS | shape(
            "a", "note", {"richText": {"type": "doc", "content": []}, "new": 1, "color": "red"}, extra=2
        )
        board = patch(board, {"style": {"color": "blue"}, "content": {"mine": 5}}, "a")
        assert board["shape:a"]["props"] == {"richText": {"type": "doc", "content": []}, "new": 1, "color": "blue"}
        assert board["shape:a"]["extra"] == 2
        assert decompose(board, "a")["content"] == {"text": "", "mine": 5}
        assert "created_by" not in decompose(board, "a")

    def test_an_arrow_can_be_moved(self) -> None:
        board = PERSONS | shape("a", "arrow", {"text": "label"})
        assert apply_patch(board, "a", {"x": 7}) == {"shape:a": {**board["shape:a"], "x": 7}}
        with pytest.raises(InvalidItem, match="person's arrow"):
            apply_patch(board, "a", {"style": {"color": "red"}})


class TestPatching:
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from(ITEM_TYPES).flatmap(lambda kind: st.tuples(items((kind,)), patches(kind))))
    def test_a_patched_item_is_the_merged_item(self, drawn: tuple[dict[str, Any], dict[str, Any]]) -> None:
        data, change = drawn
        board = write({}, data)
        before, after = decompose(board, "i1"), decompose(patch(board, change), "i1")
        for name in ("x", "y"):
            assert after[name] == change.get(name, before[name])
        for name in change.get("content", {}):
            assert after["content"][name] == change["content"][name]
        for name, value in (change.get("style") or {}).items():
            assert after["style"].get(name) == value
        for name in ("width", "height"):
            if change.get(name) is not None and name not in NOT_HONOURED.get(data["type"], []):
                assert after[name] == pytest.approx(change[name], abs=1e-8)
        assert patch(patch(board, change), change) == patch(board, change)

    @settings(deadline=None)
    @given(items(), st.sampled_from(["x", "y", "style", "none"]))
    def test_a_patch_of_one_field_changes_only_that(self, data: dict[str, Any], name: str) -> None:
        board = write({}, data)
        if name == "none":
            assert apply_patch(board, "i1", {}) == {}
            seen = decompose(board, "i1")
            if "null" not in json.dumps(seen):  # which in a merge patch means: remove
                assert apply_patch(board, "i1", seen) == {}
            return
        value = {"opacity": 0.123} if name == "style" else 123
        [(key, record)] = apply_patch(board, "i1", {name: value}).items()
        assert record is not None
        expected = {"opacity": 0.123, "meta": record["meta"]} if name == "style" else {name: 123}
        assert (key, record) == ("shape:i1", {**board["shape:i1"], **expected})

    def test_moving_keeps_a_persons_formatting_and_colours(self) -> None:
        rich = {"type": "doc", "content": [paragraph("hello", "italic")]}
        board = edit(write({}, STICKY), props={"richText": rich, "color": "red", "growY": 9, "unknown": [1]})
        assert apply_patch(board, "i1", {"y": 5, "content": {"text": "hello"}}) == {
            "shape:i1": {**board["shape:i1"], "y": 5}
        }  # the same text is no change of text

    def test_new_text_is_measured_anew_by_the_canvas(self) -> None:
        board = edit(write({}, STICKY), props={"growY": 90, "fontSizeAdjustment": 3})
        props = patch(board, {"content": {"text": "b"}})["shape:i1"]["props"]
        assert (props["growY"], props["fontSizeAdjustment"]) == (0, 0)
        assert patch(board, {"style": {"color": "red"}})["shape:i1"]["props"]["growY"] == 90

    def test_moving_in_a_turned_frame_is_in_page_coordinates(self) -> None:
        frames = shape("f", "frame", {}, x=100, y=100, rotation=math.pi / 2) | shape(
            "g", "group", {}, x=5, y=5, rotation=0.3, parentId="shape:f"
        )
        board = edit(write({}, STICKY) | frames, parentId="shape:g", x=10, y=3)
        moved = patch(board, {"x": 700})
        before, after = decompose(board, "i1"), decompose(moved, "i1")
        assert after == {**before, "x": 700}
        assert moved["shape:i1"]["parentId"] == "shape:g"

    def test_null_takes_a_field_back_to_its_default(self) -> None:
        text = patch(write({}, SAMPLES["text"]), {"width": None})
        assert text["shape:i1"]["props"] | {"autoSize": True} == text["shape:i1"]["props"]
        assert patch(write({}, SAMPLES["shape"]), {"height": None})["shape:i1"]["props"]["h"] == 100
        styled = write({}, {**STICKY, "style": {"color": "red", "size": "s"}})
        assert decompose(patch(styled, {"style": {"color": None}}), "i1")["style"] == {"size": "s"}
        plain = patch(styled, {"style": None})
        assert plain["shape:i1"]["props"] | {"color": "black", "size": "m"} == plain["shape:i1"]["props"]
        assert "style" not in decompose(plain, "i1")
        assert decompose(edit(plain, props={"color": "blue"}), "i1")["style"] == {"color": "blue"}
        assert decompose(patch(plain, {"style": {"size": "xl"}}), "i1")["style"] == {"size": "xl"}
        assert decompose(write({}, {**STICKY, "style": {}}), "i1")["style"] == {}, "as it was given"

    def test_null_takes_the_style_of_a_persons_shape_back(self) -> None:
        board = PERSONS | shape("a", "note", {"richText": {"type": "doc", "content": []}, "color": "red"})
        board = patch(board, {"style": None}, "a")
        assert board["shape:a"]["props"]["color"] == "black"
        assert "style" not in decompose(board, "a")

    def test_the_same_colour_by_another_name_leaves_the_record(self) -> None:
        board = write({}, {**SAMPLES["shape"], "style": {"color": "#e03131"}})
        assert patch(board, {"style": {"color": "red"}})["shape:i1"]["props"] == board["shape:i1"]["props"]

    def test_a_scaled_text_takes_the_width_that_was_asked_for(self) -> None:
        board = edit(write({}, SAMPLES["text"]), props={"scale": 2.0})
        assert decompose(patch(board, {"width": 300}), "i1")["width"] == 300

    def test_wrong_patches(self) -> None:
        with pytest.raises(ItemNotFound, match="'nobody'"):
            apply_patch({}, "nobody", {})
        with pytest.raises(InvalidItem, match=r"^x: "):
            apply_patch(write({}, STICKY), "i1", {"x": "left"})


class TestCreating:
    def test_the_first_item_makes_the_page(self) -> None:
        assert list(create({}, parse_item(STICKY), "i1", bits)) == ["document:document", "page:page", "shape:i1"]
        assert list(create(write({}, STICKY), parse_item(STICKY), "i2", bits)) == ["shape:i2"]

    def test_the_last_one_is_on_top(self) -> None:
        board: Board = {}
        for number in range(20):
            board = write(board, STICKY, f"i{number}")
        indexes = [board[f"shape:i{number}"]["index"] for number in range(20)]
        assert indexes == sorted(set(indexes))

    def test_an_id_that_is_taken(self) -> None:
        with pytest.raises(ItemExists, match="'i1'"):
            create(write({}, STICKY), parse_item(STICKY), "i1", bits)
        with pytest.raises(ItemExists):
            create({"shape:i1": None}, parse_item(STICKY), "i1", bits)

    def test_a_hex_colour_is_paper_on_notes_and_ink_on_shapes(self) -> None:
        style = {"color": "#ffeb3b"}
        assert write({}, {**STICKY, "style": style})["shape:i1"]["props"]["color"] == "black"
        assert write({}, {**SAMPLES["shape"], "style": style})["shape:i1"]["props"]["color"] == "yellow"


class TestImages:
    IMAGE = SAMPLES["image"]

    def asset(self, key: str, **props: Any) -> Board:
        return {key: {"id": key, "typeName": "asset", "type": "image", "props": props, "meta": {}}}

    def test_an_image_brings_its_asset(self) -> None:
        board = write({}, self.IMAGE)
        assert board["shape:i1"]["props"]["assetId"] == "asset:i1"
        assert board["asset:i1"]["props"] == {
            "w": 64, "h": 48, "name": "a.png", "src": "https://example.org/a.png", "mimeType": "image/png",
            "isAnimated": False,
        }  # fmt: skip
        assert write({}, item("image", {"url": "data:image/gif;base64,AA"}))["asset:i1"]["props"]["isAnimated"] is True
        assert write({}, item("image", {"url": "/v1/assets/42"}))["asset:i1"]["props"]["mimeType"] is None

    def test_an_image_of_an_asset_that_is_there(self) -> None:
        board = write(self.asset("asset:pic", src="/pic.png", w=30, h=20), item("image", {"asset_id": "pic"}))
        assert "asset:i1" not in board
        assert decompose(board, "i1") == {
            "id": "i1", "type": "image", "x": 10, "y": 20, "width": 30, "height": 20, "content": {"asset_id": "pic"},
        }  # fmt: skip
        with pytest.raises(InvalidItem, match=r"^content\.asset_id: "):
            write({}, item("image", {"asset_id": "pic"}))

    def test_an_asset_that_has_the_name_is_left_alone(self) -> None:
        theirs = self.asset("asset:i1", src="/theirs.png")
        board = write(theirs, self.IMAGE)
        assert board["asset:i1"] == theirs["asset:i1"]
        assert board["shape:i1"]["props"]["assetId"] == "asset:i1-2"
        assert decompose(board, "i1")["content"] == self.IMAGE["content"]

    def test_another_picture(self) -> None:
        board = patch(write({}, self.IMAGE), {"content": {"url": "/b.jpg"}})
        assert decompose(board, "i1")["content"] == {"url": "/b.jpg", "alt": "A"}
        assert board["asset:i1"]["props"]["mimeType"] == "image/jpeg"

    def test_another_picture_leaves_a_copy_its_own(self) -> None:
        board = write({}, self.IMAGE)
        board |= {"shape:copy": {**board["shape:i1"], "id": "shape:copy"}}
        board = patch(board, {"content": {"url": "/b.jpg"}})
        assert decompose(board, "i1")["content"]["url"] == "/b.jpg"
        assert decompose(board, "copy")["content"] == self.IMAGE["content"]

    def test_from_an_address_to_an_asset_and_back(self) -> None:
        board = write({}, self.IMAGE) | self.asset("asset:pic", src="/pic.png", w=30, h=20)
        with pytest.raises(InvalidItem, match="url or asset_id"):
            apply_patch(board, "i1", {"content": {"asset_id": "pic"}})
        board = patch(board, {"content": {"asset_id": "pic", "url": None}})
        assert "asset:i1" not in board
        assert decompose(board, "i1")["content"] == {"asset_id": "pic", "alt": "A"}
        board = patch(board, {"content": {"asset_id": None, "url": "/c.png"}})
        assert board["asset:pic"]["props"]["src"] == "/pic.png"
        assert decompose(board, "i1")["content"] == {"url": "/c.png", "alt": "A"}

    UPLOADED = Asset(
        BoardId("plans"), "pic", Picture("image/webp", 30, 20, is_animated=True), 1234, "0" * 64, "Ann's key"
    )

    def test_an_image_of_an_uploaded_asset_brings_its_record(self) -> None:
        made = create({}, parse_item(item("image", {"asset_id": "pic"})), "i1", bits, self.UPLOADED)
        assert made["asset:pic"] == {
            "id": "asset:pic", "typeName": "asset", "type": "image", "meta": {"dockerclaw_id": "i1"},
            "props": {"src": "/v1/boards/plans/assets/pic", "w": 30, "h": 20, "name": "pic", "mimeType": "image/webp",
                      "isAnimated": True, "fileSize": 1234},
        }  # fmt: skip
        board = through_the_document(dict(made))
        read = decompose(board, "i1")
        assert (read["width"], read["height"], read["content"]) == (30, 20, {"asset_id": "pic"})
        assert {"shape:i1", "asset:pic"} <= delete(board, "i1")

    def test_a_board_that_has_the_asset_keeps_its_own_record(self) -> None:
        theirs = self.asset("asset:pic", src="/theirs.png", w=5, h=5)
        made = create(theirs, parse_item(item("image", {"asset_id": "pic"})), "i1", bits, self.UPLOADED)
        assert "asset:pic" not in made
        assert "asset:pic" not in delete(theirs | made, "i1")

    def test_from_an_address_to_an_uploaded_asset(self) -> None:
        board = write({}, self.IMAGE)
        change = {"content": {"asset_id": "pic", "url": None}}
        with pytest.raises(UnknownAsset) as caught:
            apply_patch(board, "i1", change)
        assert caught.value.asset_id == "pic"
        board = through_the_document(changed(board, apply_patch(board, "i1", change, self.UPLOADED)))
        assert decompose(board, "i1")["content"] == {"asset_id": "pic", "alt": "A"}
        assert board["asset:pic"]["props"]["src"] == "/v1/boards/plans/assets/pic"
        assert "asset:i1" not in board
        board |= {"shape:copy": {**board["shape:i1"], "id": "shape:copy"}}
        for shown in (("asset:i1", "asset:pic"), ("asset:i1",)):  # named still by the copy; then by nobody
            left = patch(board, {"content": {"asset_id": None, "url": "/c.png"}})
            assert tuple(sorted(key for key in left if key.startswith("asset:"))) == shown
            assert left["asset:i1"]["props"]["src"] == "/c.png"
            board.pop("shape:copy", None)

    @pytest.mark.parametrize(
        ("size", "shown"), [((4000, 3000), (1000, 750)), ((1000, 10), (1000, 10)), ((9000, 1), (1000, 1))]
    )
    def test_a_large_picture_is_shown_smaller_unless_told_its_size(
        self, size: tuple[int, int], shown: tuple[int, int]
    ) -> None:
        upload = self.UPLOADED._replace(picture=Picture("image/png", *size, is_animated=False))
        for told, expected in (({}, shown), ({"width": 2000, "height": 1500}, (2000, 1500))):
            made = create({}, parse_item(item("image", {"asset_id": "pic"}, **told)), "i1", bits, upload)
            read = decompose(dict(made), "i1")
            assert (read["width"], read["height"]) == expected

    def test_an_image_whose_asset_is_gone_can_be_moved(self) -> None:
        board = PERSONS | shape("a", "image", {"assetId": "asset:gone", "w": 9, "h": 9, "altText": ""})
        assert patch(board, {"x": 70}, "a")["shape:a"]["x"] == 70
        assert decompose(board, "a")["content"] == {"asset_id": "gone", "alt": ""}

    def test_a_person_swapped_the_picture(self) -> None:
        board = edit(write({}, self.IMAGE) | self.asset("asset:2", src="/new.png"), props={"assetId": "asset:2"})
        assert decompose(board, "i1")["content"] == {"url": "/new.png", "alt": "A"}


class TestDeleting:
    def test_a_shape_goes_with_its_asset_and_its_bindings(self) -> None:
        board = write(write({}, TestImages.IMAGE), STICKY, "i2") | shape("arrow", "arrow", {})
        for name, start, end in (("1", "shape:arrow", "shape:i1"), ("2", "shape:arrow", "shape:i2")):
            board[f"binding:{name}"] = {"id": f"binding:{name}", "typeName": "binding", "fromId": start, "toId": end}
        assert delete(board, "i1") == {"shape:i1", "asset:i1", "binding:1"}
        assert delete(board, "arrow") == {"shape:arrow", "binding:1", "binding:2"}

    def test_an_asset_that_others_use_stays(self) -> None:
        board = write({}, TestImages.IMAGE)
        board |= {"shape:copy": {**board["shape:i1"], "id": "shape:copy"}}
        assert delete(board, "i1") == {"shape:i1"}
        assert delete(board, "copy") == {"shape:copy"}

    def test_a_persons_asset_stays_for_their_undo(self) -> None:
        asset = {"id": "asset:1", "typeName": "asset", "type": "image", "props": {"src": "/a.png"}, "meta": {}}
        board = PERSONS | {"asset:1": asset} | shape("a", "image", {"assetId": "asset:1"})
        assert delete(board, "a") == {"shape:a"}

    def test_a_frame_takes_what_is_in_it_along(self) -> None:
        board = write({}, SAMPLES["frame"], "f")
        board = edit(write(board, TestImages.IMAGE), parentId="shape:g") | shape("g", "group", {}, parentId="shape:f")
        assert delete(board, "f") == {"shape:f", "shape:g", "shape:i1", "asset:i1"}

    def test_a_cycle_goes_whole(self) -> None:
        board = shape("a", "frame", {}, parentId="shape:b") | shape("b", "frame", {}, parentId="shape:a")
        assert delete(board, "a") == {"shape:a", "shape:b"}

    def test_what_is_broken_can_be_deleted(self) -> None:
        assert delete({"shape:a": 5}, "a") == {"shape:a"}
        with pytest.raises(ItemNotFound):
            delete(PERSONS, "a")


class TestHostileBoards:
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(hostile_maps(), HOSTILE)
    def test_nothing_in_a_board_makes_a_reader_or_a_writer_fail(self, board: Board, change: Any) -> None:
        listed = list_items(board)
        json.dumps(listed, allow_nan=False).encode()
        for one in listed:
            assert decompose(board, one["id"]) == one
            apply_patch(board, one["id"], {"x": 1})
            if one["type"] != "other":
                apply_patch(board, one["id"], {"style": {"opacity": 0.5}, "width": 30})
            for maybe_wrong in ({"content": {"text": "x"}}, {"content": {"url": "/a"}}, change):
                with contextlib.suppress(InvalidItem):
                    apply_patch(board, one["id"], maybe_wrong)
            assert f"shape:{one['id']}" in delete(board, one["id"])
        assert "shape:new" in create(board, parse_item(STICKY), "new", bits)

    @pytest.mark.parametrize(
        "broken",
        [
            None, 5, [], {}, {"typeName": "page"}, {"x": math.nan}, {"y": "1"}, {"x": None}, {"type": 3},
            {"id": "shape:b"}, {"x": True},
        ],
    )  # fmt: skip
    def test_what_the_canvas_cannot_show_is_not_listed(self, broken: Any) -> None:
        good = shape("a", "note", {})
        board = {"shape:a": {**good["shape:a"], **broken} if isinstance(broken, dict) and broken else broken}
        assert list_items(board) == []
        with pytest.raises(ItemNotFound):
            decompose(board, "a")

    def test_sizes_beyond_all_numbers_are_left_out(self) -> None:
        board = shape("a", "note", {"scale": 1e308}) | shape("b", "geo", {"w": math.inf, "h": 1e308, "growY": 1e308})
        assert [item.keys() & {"width", "height"} for item in list_items(board)] == [set(), set()]

    def test_best_effort_where_props_are_missing(self) -> None:
        board = {"shape:a": shape("a", "note", {})["shape:a"] | {"props": "?", "meta": []}}
        assert decompose(board, "a")["content"] == {"text": ""}

    def test_what_json_cannot_say_reads_as_null(self) -> None:
        deep: Any = 1
        for _ in range(100):
            deep = [deep]
        content = {"text": "a", "bytes": b"x", "nan": math.nan, "deep": deep, "one": 1.0}
        board = write({}, STICKY)
        board["shape:i1"]["meta"]["content"] = content
        got = decompose(board, "i1")["content"]
        assert (got["bytes"], got["nan"], got["one"]) == (None, None, 1)
        assert json.dumps(got).count("[") < 40

    def test_a_large_board_is_listed_in_reasonable_steps(self) -> None:
        """A chain of frames is not walked to its end from each of its links."""
        chain: Board = {}
        for number in range(3000):
            chain |= shape(f"c{number}", "frame", {}, parentId=f"shape:c{number + 1}")
        assert len(list_items(chain)) == 3000
