"""Settings: environment variables, read once into frozen dataclasses. A field in capitals is its variable."""

import socket
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TypeVar

from boardlog.errors import InvalidSetting

S = TypeVar("S", bound="ServiceSettings")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceSettings:
    """What every service needs."""

    redis_url: str
    database_url: str
    port: int = 8080
    host: str = "0.0.0.0"  # noqa: S104  a container's port is reached from outside it
    log_level: str = "INFO"
    node_name: str = ""
    """Shown by /health and in every log line; the host's name if empty."""
    redis_memory_bytes_max: int = 0
    """Appends are held back while Redis uses more (G5); where it is 0, `fullness.limit_bytes` tells."""
    redis_key_prefix: str = ""
    """Stands before every key and channel, so that several systems can share a server."""

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node_name or socket.gethostname()


def read(settings: type[S], environment: Mapping[str, str]) -> S:
    """Return `settings` filled from `environment`, or raise InvalidSetting with what to do."""
    values: dict[str, object] = {}
    for field in fields(settings):
        variable = field.name.upper()
        text = environment.get(variable)
        if text is None or (text == "" and field.default is not MISSING):
            if field.default is MISSING:
                raise InvalidSetting(f"Set {variable}: the service cannot start without it.")
            continue
        try:
            values[field.name] = _convert(text, field.type)
        except ValueError as error:
            raise InvalidSetting(f"{variable} must be a number, not {text!r}.") from error
    return settings(**values)  # type: ignore[arg-type]


def _convert(text: str, to: object) -> object:
    if to in (int, "int"):
        return int(text)
    if to in (float, "float"):
        return float(text)
    return text
