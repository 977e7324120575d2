"""Starting a service that cannot start: one sentence for the operator, no traceback."""

import pytest

from boardlog.folding import FoldFailed
from boardlog.service import run_service
from bridge.settings import BridgeSettings


def test_a_service_that_cannot_start_its_processes_says_so_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
    monkeypatch.setattr("boardlog.service.configure_logs", lambda *_: None)

    async def serve(settings: BridgeSettings) -> None:
        raise FoldFailed("The working process did not start within 30 s.")

    with pytest.raises(SystemExit) as ended:
        run_service("bridge", BridgeSettings, serve)
    assert ended.value.code == "bridge: The working process did not start within 30 s."
