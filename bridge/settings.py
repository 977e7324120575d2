"""The bridge's settings: environment variables of the same names in capitals."""

from dataclasses import dataclass

from boardlog.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class BridgeSettings(ServiceSettings):
    """What a bridge can be told: nothing but what every service can."""
