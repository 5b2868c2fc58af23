"""What stops a run before its first case."""


class SetupError(Exception):
    """Something the run needs is not there; the text says what."""
