"""The two readers that must take what `validate` takes: real yjs in Node, and ours on pycrdt, each in a process."""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from select import select
from typing import Any

_TESTS = Path(__file__).parents[1]
ANSWER_SECONDS_MAX = 20.0
"""For many histories, which take milliseconds each."""

History = Sequence[bytes]
"""Updates as one reader gets them, in their order."""


class Died(Exception):
    """The process ended instead of answering."""


class Oracle:
    """A process that answers one JSON line with another."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self._process = self._start()

    def ask(self, **question: Any) -> Any:
        """Return the answer. Raises Died, and starts a new process."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            is_answering, _, _ = select([process.stdout], [], [], ANSWER_SECONDS_MAX)
            answer = process.stdout.readline() if is_answering else ""
        except BrokenPipeError:
            is_answering, answer = [process.stdout], ""
        if not answer:
            if not is_answering:
                process.kill()
            code = process.wait()
            self.close()
            self._process = self._start()
            how = f"ended with {code}" if is_answering else f"did not answer within {ANSWER_SECONDS_MAX:g} s"
            raise Died(f"{self._command[-1]} {how}.")
        return json.loads(answer)

    def outcomes(self, histories: Sequence[History]) -> list[dict[str, Any]]:
        """Return what came of each history; a death is an outcome too."""
        encoded = [[base64.b64encode(update).decode() for update in history] for history in histories]
        try:
            return list(self.ask(histories=encoded)["outcomes"])
        except Died as death:
            if len(histories) == 1:
                return [{"failed": str(death)}]
            middle = len(histories) // 2
            return self.outcomes(histories[:middle]) + self.outcomes(histories[middle:])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def oracles() -> Iterator[tuple[Oracle, Oracle]]:
    """Yield yjs and pycrdt."""
    node = shutil.which("node")
    assert node is not None, "The fuzzers need Node 20: run `make test`, which says more."
    with ExitStack() as stack:
        yjs = Oracle(node, str(_TESTS / "clients" / "oracle.mjs"))
        stack.callback(yjs.close)
        pycrdt = Oracle(sys.executable, "-m", "tests.fuzz.pycrdt_oracle")
        stack.callback(pycrdt.close)
        yield yjs, pycrdt
