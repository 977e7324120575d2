"""The worker's settings: environment variables of the same names in capitals."""

from dataclasses import dataclass

from boardlog.errors import InvalidSetting
from boardlog.settings import ServiceSettings

SWEEP_SECONDS_MIN = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings(ServiceSettings):
    """What a worker can be told."""

    boards_max: int = 4
    """Boards compacted at the same time."""
    fold_processes_max: int = 2
    """Processes that fold for them; each takes a core while it folds."""
    sweep_seconds: float = 60.0
    """How often all boards are looked through for changes that nobody marked (L9)."""

    def __post_init__(self) -> None:
        """Refuse what would make the worker idle or restless."""
        if self.boards_max < 1 or self.fold_processes_max < 1:
            raise InvalidSetting("BOARDS_MAX and FOLD_PROCESSES_MAX must be at least 1.")
        if not self.sweep_seconds >= SWEEP_SECONDS_MIN:
            raise InvalidSetting(f"SWEEP_SECONDS must be at least {SWEEP_SECONDS_MIN:g}.")
