"""`boardctl board …` and `boardctl migrate`."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from boardctl.connections import Connections, console, fail, print_json, run
from boardlog import database
from boardlog.errors import BoardExists, BoardNotFound, InvalidBoardId
from boardlog.ids import BoardId, parse_board_id
from boardlog.snapshots import BoardSummary

app = typer.Typer(help="Create, list and show boards.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print for machines.")]


def migrate(*, as_json: Json = False) -> None:
    """Bring the database's tables up to date."""

    async def command(connections: Connections) -> list[str]:
        return await database.migrate(connections.pool)

    applied = run(command)
    if as_json:
        print_json({"applied": applied})
    else:
        typer.echo("\n".join(f"applied {name}" for name in applied) or "The tables are up to date.")


@app.command()
def create(board: str, *, as_json: Json = False) -> None:
    """Create an empty board."""
    board_id = _board_id(board)

    async def command(connections: Connections) -> None:
        if not await connections.snapshots.create(board_id):
            raise BoardExists(f"Board {board_id} exists already.")

    run(command)
    if as_json:
        print_json({"board": board_id})
    else:
        typer.echo(f"Created board {board_id}. Give somebody a key: boardctl key create {board_id}")


@app.command("list")
def list_boards(*, as_json: Json = False) -> None:
    """List boards, the most recently changed first."""

    async def command(connections: Connections) -> list[BoardSummary]:
        return await connections.snapshots.summaries()

    summaries = run(command)
    if as_json:
        print_json([_as_json(summary) for summary in summaries])
        return
    if not summaries:
        typer.echo("There are no boards yet: boardctl board create NAME")
        return
    table = Table("board", "changed", "size", "stored", "version", "quarantined", box=None, pad_edge=False)
    for s in summaries:
        table.add_row(s.board, _ago(s.updated_at), _size(s.state_bytes), _size(s.stored_bytes), str(s.version),
                      str(s.quarantined or ""))  # fmt: skip
    console.print(table)


@app.command()
def show(board: str, *, as_json: Json = False) -> None:
    """Show one board: its snapshot, its log, and what could not be folded."""
    board_id = _board_id(board)

    async def command(connections: Connections) -> dict[str, object]:
        summaries = await connections.snapshots.summaries([board_id])
        if not summaries:
            raise BoardNotFound(f"There is no board {board_id}.")
        entries = await connections.streams.read(board_id)
        waiting = [entry for entry in entries if entry.cursor.id > summaries[0].cursor.id]
        quarantined = await connections.snapshots.quarantined(board_id)
        return _as_json(summaries[0]) | {
            "log_entries": len(entries),
            "log_bytes": sum(len(entry.payload) for entry in entries),
            "lag_entries": len(waiting),
            "lag_seconds": round((waiting[-1].cursor.id.ms - waiting[0].cursor.id.ms) / 1000, 3) if waiting else 0,
            "head": str(entries[-1].cursor) if entries else None,
            "quarantined": [{"cursor": str(q.cursor), "reason": q.reason} for q in quarantined],
        }

    described = run(command)
    if as_json:
        print_json(described)
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in described.items():
        table.add_row(name.replace("_", " "), str(value))
    console.print(table)


def _board_id(text: str) -> BoardId:
    try:
        return parse_board_id(text)
    except InvalidBoardId as error:
        fail(str(error))


def _as_json(summary: BoardSummary) -> dict[str, object]:
    return {name: str(value) if name == "cursor" else value for name, value in summary._asdict().items()}


def _ago(moment: datetime) -> str:
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for name, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {name} ago"
    return f"{seconds:.0f} s ago"


def _size(size_bytes: int) -> str:
    if size_bytes < 1000:
        return f"{size_bytes} B"
    return f"{size_bytes / 1000:.1f} kB" if size_bytes < 1_000_000 else f"{size_bytes / 1_000_000:.1f} MB"
