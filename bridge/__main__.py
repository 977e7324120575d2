"""`python -m bridge`: one process, configured by the environment."""

from boardlog.service import run_service
from bridge.app import serve
from bridge.settings import BridgeSettings

if __name__ == "__main__":
    run_service("bridge", BridgeSettings, serve)
