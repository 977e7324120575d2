"""What `boardctl up` tells whoever started it: a table that fills in a terminal, plain lines elsewhere."""

import os
import shlex
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from boardctl.children import Child, State, how_it_ended

STYLES = {"waiting": "dim", State.STARTING: "yellow", State.READY: "green", State.DEAD: "bold red"}


@dataclass(frozen=True, slots=True)
class Ready:
    """Where everything is, once everything answers. The ready file holds exactly these fields."""

    relays: Sequence[str]
    bridge: str
    canvas: str
    """With the key in its fragment, where no server and no log sees it."""
    board: str
    api_key: str
    redis_url: str
    database_url: str
    pids: dict[str, int]
    """By name: relay-0, …, bridge, worker; redis and postgres if they were started here."""


class Progress:
    """Writes to standard output. A reader that leaves, or a terminal that closes, stops nothing."""

    def __init__(self) -> None:
        """Nothing is shown yet."""
        self._console = _Output(highlight=False, soft_wrap=True)
        self._rows: dict[str, tuple[str, str]] = {}
        self._live: Live | None = None

    def begin(self, names: Sequence[str]) -> None:
        """Show what is going to be started."""
        self._rows = dict.fromkeys(names, ("waiting", ""))
        if self._console.is_terminal:
            self._live = Live(self._table(), console=self._console, auto_refresh=False)
            self._quietly(self._live.start)

    def end(self) -> None:
        """Show no more of the start: it succeeded or failed."""
        live, self._live = self._live, None
        if live is not None:
            self._quietly(live.stop)

    def child(self, child: Child, state: State) -> None:
        """Show what has become of a child."""
        if state is State.DEAD:
            code = child.process.returncode or 0
            why = "" if code == -signal.SIGKILL else child.last_lines()  # one that was killed had no say
            self._say(f"{child.name} {how_it_ended(code)}. It is not started again; the others carry on.{why}", "red")
            return
        if child.name not in self._rows or state is State.STOPPED:
            return
        self._rows[child.name] = (state, child.address if state is State.READY else "")
        live = self._live
        if live is not None:
            self._quietly(lambda: live.update(self._table(), refresh=True))
        else:
            self._say(" ".join([child.name, *self._rows[child.name]]).strip())

    def ready(self, ready: Ready, data: Path) -> None:
        """Show where to go."""
        example = (
            f"curl {ready.bridge}/v1/boards/{ready.board}/items \\\n"
            f"      -H 'X-API-Key: {ready.api_key}' \\\n"
            """      -H 'Content-Type: application/json' \\\n"""
            """      -d '{"type": "sticky", "x": 100, "y": 200, "content": {"text": "From an agent"}}'"""
        )
        stores = (
            f"export REDIS_URL={shlex.quote(ready.redis_url)}\n"
            f"    export DATABASE_URL={shlex.quote(ready.database_url)}"
        )
        client = (
            f"new WebsocketProvider('{ready.relays[0].replace('http', 'ws', 1)}/ws', '{ready.board}', doc, "
            f"{{ params: {{ apiKey: '{ready.api_key}' }} }})"
        )
        for title, text in (
            ("The canvas", ready.canvas),
            ("A y-websocket client", client),
            ("The agents' API", f"{ready.bridge}/docs"),
            ("A note from an agent", example),
            ("For boardctl and your own tools", stores),
            ("Data and logs", str(data)),
        ):
            self._say(f"\n{title}", "bold")
            self._say(f"    {text}")
        self._say("\nCtrl-C stops it all.", "dim")

    def stopping(self) -> None:
        """Show that the end was asked for."""
        self.end()
        self._say("Stopping. (Ctrl-C again: at once.)", "dim")

    def stopped(self) -> None:
        """Show that nothing runs any more."""
        self._say("Stopped.", "dim")

    def _table(self) -> Table:
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, (state, address) in self._rows.items():
            table.add_row(name, Text(state, STYLES[state]), address)
        return table

    def _say(self, line: str, style: str = "") -> None:
        self._quietly(lambda: self._console.print(Text(line, style)))

    def _quietly(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError:  # the terminal was closed
            self._console.on_broken_pipe()


class _Output(Console):
    def on_broken_pipe(self) -> None:
        """Write nowhere from now on. The library's own way is to end the process, children and all."""
        self.quiet = True
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
