"""The one retry policy: what is worth repeating, how often, how long.

A policy counts its attempts in itself: two loops that share one take each other's outcomes for their own. So each loop
makes its own.
"""

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from boardlog.errors import StorageUnavailable

RETRY_SECONDS_MAX = 20.0
"""Long enough for a restart or a failover of Redis; after it, whoever waits is told to try again (1013, 503)."""
WAIT_SECONDS_MAX = 2.0


def retrying(seconds_max: float = RETRY_SECONDS_MAX) -> AsyncRetrying:
    """Return a policy that repeats on StorageUnavailable with jitter, then lets it through.

    Only for what may be repeated: reads, and writes with the same bytes (L10). Cancel-safe.
    """
    return AsyncRetrying(
        retry=retry_if_exception_type(StorageUnavailable),
        wait=wait_random_exponential(multiplier=0.05, max=WAIT_SECONDS_MAX),
        stop=stop_after_delay(seconds_max),
        reraise=True,
    )


def retrying_forever(*errors: type[Exception], wait_seconds_max: float = WAIT_SECONDS_MAX) -> AsyncRetrying:
    """Return a policy that repeats on these errors with jitter, for as long as it takes. Cancel-safe."""
    return AsyncRetrying(
        retry=retry_if_exception_type(errors), wait=wait_random_exponential(multiplier=0.05, max=wait_seconds_max)
    )
