"""`python -m persistence_worker`: one worker, configured by the environment."""

from boardlog.service import run_service
from persistence_worker.app import serve
from persistence_worker.settings import WorkerSettings

if __name__ == "__main__":
    run_service("persistence_worker", WorkerSettings, serve)
