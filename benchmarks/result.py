"""What a run has found, and its JSON (pure)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.histogram import Histogram

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One measurement."""

    workload: str
    """W1, W2, …"""
    name: str
    """What sets it apart within its workload."""
    parameters: Mapping[str, int | float]
    unit: str
    """What the cost is counted by: a delivery, an update, a join."""
    units: int
    """How many of them were done."""
    seconds: float
    cpu_seconds: Mapping[str, float]
    """By process."""
    load_busy: float
    """Share of a core that the load generator used."""
    others_busy: float
    """Cores that whatever else runs on this machine used."""
    latency: Histogram | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    """Whatever else was measured; names end with their unit."""

    def cpu_us(self, process: str | None = None) -> float:
        """Return the CPU microseconds of a unit, by one process or by all."""
        seconds = sum(self.cpu_seconds.values()) if process is None else self.cpu_seconds.get(process, 0.0)
        return seconds * 1e6 / max(1, self.units)


@dataclass(frozen=True, slots=True)
class Result:
    """One run."""

    about: Mapping[str, str]
    """The machine, versions, the commit, how it was called."""
    parts: list[Part]

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        parts = [{**asdict(part), "latency": part.latency and part.latency.to_json()} for part in self.parts]
        return {"format": FORMAT, "about": dict(self.about), "parts": parts}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Result":
        """Return the run that `to_json` told. Raises ValueError if it was of another format."""
        if told.get("format") != FORMAT:
            raise ValueError(f"Results of format {FORMAT} are wanted, not {told.get('format')}.")
        parts = [
            Part(**{**part, "latency": part["latency"] and Histogram.from_json(part["latency"])})
            for part in told["parts"]
        ]
        return cls(told["about"], parts)
