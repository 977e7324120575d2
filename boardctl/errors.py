"""Why the system on this machine cannot start."""

from boardlog.errors import BoardLogError


class CannotStart(BoardLogError):
    """Something outside this program is in the way; the message says what, and what to do."""
