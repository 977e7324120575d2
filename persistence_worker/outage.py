"""Says once that something does not work, and once that it works again: an outage must not fill the log."""

import structlog

from boardlog.errors import StorageUnavailable

log = structlog.get_logger()


class Outage:
    """One kind of work, which a store that is away brings to a halt."""

    def __init__(self, work: str) -> None:
        """Name the work, as the log is to call it."""
        self._work = work
        self._lasts = False

    def failed(self, error: StorageUnavailable) -> None:
        """Note a failure."""
        if not self._lasts:
            log.warning("waiting_for_storage", work=self._work, reason=str(error))
        self._lasts = True

    def worked(self) -> None:
        """Note a success."""
        if self._lasts:
            log.info("storage_is_back", work=self._work)
        self._lasts = False
