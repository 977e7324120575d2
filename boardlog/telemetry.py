"""Logs and metrics: structured lines on standard error, Prometheus' text format at /metrics."""

import logging
import sys

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

METRICS = CollectorRegistry()
"""This process's metrics. Each service defines its own beside the code that counts."""


def configure_logs(level: str, service: str, node: str) -> None:
    """Write JSON lines (readable ones in a terminal) at this level, each with the service's and the node's name."""
    numeric = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, node=node)
    # Libraries speak only when something is wrong, and never of a request's URL, which may carry a key.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("aiohttp.server").addFilter(_without_malformed)


def _without_malformed(record: logging.LogRecord) -> bool:
    """Make one line of what a peer sent that is not HTTP: no fault of ours, and its bytes may hold a key."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.msg, record.exc_info = f"Malformed HTTP from %s: {type(error).__name__}", None
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
    return True


def metrics_page() -> tuple[bytes, str]:
    """Return the body and the content type of /metrics."""
    return generate_latest(METRICS), CONTENT_TYPE_LATEST
