"""What went wrong, in a sentence for the person at the terminal: the command line prints it without a traceback."""


class TestbedError(Exception):
    """A failure that the user can mend; the message names the cause, the remedy and, where there is one, the log."""

    __test__ = False  # pytest would collect the name
