"""`boardctl`: one program with a command for everything an operator does."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from boardctl import boards, keys
from boardctl.connections import fail
from boardctl.progress import Progress
from boardctl.up import BRIDGE_OFFSET, PORT_MAX, RELAYS_MAX, Options
from boardctl.up import up as run_up
from boardlog.errors import BoardLogError

app = typer.Typer(
    help="Run and operate boards.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
app.add_typer(boards.app, name="board")
app.add_typer(keys.app, name="key")
app.command()(boards.migrate)


@app.command()
def up(
    *,
    relays: Annotated[int, typer.Option(min=1, max=RELAYS_MAX, help="How many relays.")] = 2,
    port: Annotated[
        int,
        typer.Option(
            min=1,
            max=PORT_MAX,
            metavar="BASE",
            help=f"Relays listen on BASE, BASE+1, …; the bridge on BASE+{BRIDGE_OFFSET}.",
        ),
    ] = 8080,
    data: Annotated[
        Path, typer.Option(metavar="DIR", file_okay=False, help="Kept between runs: boards, keys and logs.")
    ] = Path(".data"),
    ready_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, help="Write addresses and process ids here as JSON, once all answer."
        ),
    ] = None,
    redis_url: Annotated[str | None, typer.Option(metavar="URL", help="Use this Redis instead of an own one.")] = None,
    database_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Use this PostgreSQL instead of an own one.")
    ] = None,
) -> None:
    """Run the whole system on this machine, with a demo board, until Ctrl-C."""
    options = Options(
        relays=relays, port=port, data=data, ready_file=ready_file, redis_url=redis_url, database_url=database_url
    )
    try:
        asyncio.run(run_up(options, Progress()))
    except BoardLogError as error:
        fail(str(error))


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
