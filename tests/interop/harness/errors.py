"""Errors that end the run before its first case."""


class SetupError(Exception):
    """The run cannot start. The text names what is missing."""
