"""`python -m relay`: one process, configured by the environment."""

from boardlog.service import run_service
from relay.app import serve
from relay.settings import RelaySettings

if __name__ == "__main__":
    run_service("relay", RelaySettings, serve)
