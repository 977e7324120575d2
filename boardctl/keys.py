"""`boardctl key …`."""

from typing import Annotated

import typer
from rich.table import Table

from boardctl.boards import Json
from boardctl.connections import Connections, console, fail, print_json, run
from boardlog.access import EVERY_BOARD, KeyRow, hash_key, new_key
from boardlog.errors import InvalidBoardId
from boardlog.grant import Role
from boardlog.ids import parse_board_id

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)

HASH_CHARACTERS_MIN = 8


@app.command()
def create(
    board: Annotated[str, typer.Argument(help="The board, or '*' for every board.")],
    *,
    role: Annotated[Role, typer.Option(help="An editor may change the board.")] = Role.EDITOR,
    label: Annotated[str, typer.Option(help="Whom the key is for.")] = "",
    as_json: Json = False,
) -> None:
    """Create a key. It is shown this once: only its hash is kept."""
    if board != EVERY_BOARD:
        try:
            parse_board_id(board)
        except InvalidBoardId as error:
            fail(str(error))
    key = new_key()

    async def command(connections: Connections) -> None:
        await connections.access.create_key(key, board, role, label)

    run(command)
    if as_json:
        print_json({"api_key": key, "key_hash": hash_key(key), "board": board, "role": role, "label": label})
    else:
        typer.echo(key)
        typer.echo(f"This {role} key for {board} is not shown again.", err=True)


@app.command("list")
def list_keys(
    board: Annotated[str | None, typer.Argument(help="Only this board's keys.")] = None, *, as_json: Json = False
) -> None:
    """List keys by the beginning of their hash; the keys themselves are not kept."""

    async def command(connections: Connections) -> list[KeyRow]:
        return await connections.access.list_keys(board)

    rows = run(command)
    if as_json:
        print_json([row._asdict() for row in rows])
        return
    table = Table("hash", "board", "role", "label", "state", box=None, pad_edge=False)
    for row in rows:
        table.add_row(row.key_hash[:12], row.board_id, row.role, row.label, "active" if row.is_active else "revoked")
    console.print(table)


@app.command()
def revoke(
    key_hash: Annotated[str, typer.Argument(help="The hash, or its first 8 or more characters.")],
    *,
    as_json: Json = False,
) -> None:
    """Revoke a key: new connections and requests with it are refused."""
    if len(key_hash) < HASH_CHARACTERS_MIN:
        fail(f"give at least {HASH_CHARACTERS_MIN} characters of the hash (boardctl key list).")

    async def command(connections: Connections) -> int:
        return await connections.access.revoke(key_hash)

    revoked = run(command)
    if as_json:
        print_json({"revoked": revoked})
    elif revoked:
        typer.echo(f"Revoked {revoked} key{'s' if revoked > 1 else ''}.")
    else:
        fail(f"no active key's hash begins with {key_hash}.")
