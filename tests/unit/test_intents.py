"""What agents meant: put again where a person's simultaneous edit undid it, and only there."""

from typing import Any

from bridge.intents import INTENT_SECONDS, Intents, intent

KEY = "shape:note"


def note(x: float, text: str = "Draft") -> dict[str, Any]:
    return {"id": KEY, "x": x, "props": {"text": text, "scale": 1}}


def meant(*steps: tuple[dict[str, Any], dict[str, Any]]) -> Intents:
    intents = Intents()
    for item, (before, after) in enumerate(steps):
        intents.add(intent(KEY, before, after, item, now=0.0))
    return intents


def test_what_fell_back_is_put_on_top_of_what_the_person_did() -> None:
    intents = meant((note(1), note(1, "Final")))
    assert intents.undone({KEY: note(500)}, now=1.0) == {KEY: note(500, "Final")}


def test_steps_are_put_again_together() -> None:
    intents = meant((note(1), note(50)), (note(50), note(70)))
    assert intents.undone({KEY: note(1, "Typed")}, now=1.0) == {KEY: note(70, "Typed")}


def test_a_third_value_stays() -> None:
    assert meant((note(1), note(50))).undone({KEY: note(7)}, now=1.0) == {}


def test_an_intent_is_forgotten_in_time() -> None:
    assert meant((note(1), note(50))).undone({KEY: note(1)}, now=INTENT_SECONDS) == {}


def test_a_change_that_was_taken_back_is_not_written_again() -> None:
    intents = meant((note(1), note(50)), (note(50), note(1)))
    assert intents.undone({KEY: note(1)}, now=1.0) == {}


def test_a_record_that_was_gone_owes_nothing_to_what_was_meant_for_it() -> None:
    intents = meant((note(1), note(50)))
    assert intents.undone({}, now=1.0) == {}
    assert intents.undone({KEY: note(1)}, now=1.0) == {}


def test_an_agent_that_makes_a_record_anew_means_just_that() -> None:
    intents = meant((note(1), note(50)))
    intents.forget(KEY)
    assert intents.undone({KEY: note(1)}, now=1.0) == {}


def test_who_had_seen_a_change_and_sets_it_back_means_it() -> None:
    intents = meant((note(1), note(50)), (note(50), note(70)))
    intents.answered({1})
    assert intents.undone({KEY: note(1)}, now=1.0) == {}


def test_who_had_seen_an_earlier_step_only_has_not_seen_the_last() -> None:
    intents = meant((note(1), note(50)), (note(50), note(70)))
    intents.answered({0})
    assert intents.undone({KEY: note(50)}, now=1.0) == {KEY: note(70)}


def test_what_was_put_again_is_answered_by_who_has_seen_that() -> None:
    intents = meant((note(1), note(50)))
    intents.written({KEY: 7})
    intents.answered({0})
    assert intents.undone({KEY: note(1)}, now=1.0) == {KEY: note(50)}
    intents.answered({7})
    assert intents.undone({KEY: note(1)}, now=1.0) == {}
