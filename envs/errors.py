"""What goes wrong by a user's hand. It stands apart so that a program can catch it without loading torch."""


class PuzzleError(ValueError):
    """A user's mistake in a puzzle or its data. The message is one clear line that says where and what."""
