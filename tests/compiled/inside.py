"""Run by test_compiled.py in a process that has the tree first on its path: there all of this speaks of that tree."""

import importlib
import os
import pickle
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from boardlog.errors import InvalidUpdate
from boardlog.ids import EntryId
from boardlog.update import validate
from relay.frames import FrameReader
from tests.compiled.cases import answer

TREE = Path(os.environ["TREE"])
MODULES = os.environ["MODULES"].split()


@pytest.mark.parametrize("module", MODULES)
def test_it_is_the_shared_object(module: str) -> None:
    file = importlib.import_module(module).__file__
    assert file == str(TREE / f"{module.replace('.', '/')}{sysconfig.get_config_var('EXT_SUFFIX')}")


def test_it_answers_as_plain_python_does() -> None:
    """The questions were made, and answered first, by the process that started this one."""
    asked = pickle.loads(Path(os.environ["ANSWERS"]).read_bytes())
    differ = [(case, told, now) for case, told in asked if (now := answer(case)) != told]
    assert not differ, f"{len(differ)} of {len(asked)}: {differ[:3]!r:.5000}"


@pytest.mark.parametrize("ask", [validate, FrameReader(100).feed, EntryId.parse])
@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_what_is_declared_as_bytes_is_bytes(ask: Callable[[object], object], kind: Callable[[bytes], object]) -> None:
    """Plain Python would take them, here or there: what is compiled says so at once."""
    with pytest.raises(TypeError, match="bytes object expected"):
        ask(kind(b"\x00"))


def test_an_error_tells_where_it_was_raised() -> None:
    with pytest.raises(InvalidUpdate) as raised:
        validate(b"\x01\x00")
    assert [entry.path.name for entry in raised.traceback][-1] in {"update.py", "lib0.py"}
