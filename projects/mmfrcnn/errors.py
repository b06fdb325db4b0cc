"""The exceptions for a user's mistake and a user's signal, and what is said of them."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable, Sequence

NUM_NAMED = 5
"""Names shown of each kind of trouble; the rest is counted."""


class UserError(Exception):
    """A mistake in what the user gave: a config, a path, a name, a file, a flag.

    Command-line tools print it as ``error: MESSAGE`` without a traceback and exit
    with code 2, so the message must stand alone: what is wrong, where (file, id,
    key), and what to do about it.
    """


class Interrupted(KeyboardInterrupt):
    """A training was asked to end by a signal, and did so in order.

    Args:
        number (int): The signal.
        what (str): When it ended, and what is left of it.

    Attributes:
        exit_code (int): As a shell gives it: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, number: int, what: str) -> None:
        super().__init__(f'ended by {signal.Signals(number).name} {what}')
        self.exit_code = 128 + number


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name nearest to it, or ``""``.

    Args:
        name (str): The name that was not found.
        known (Iterable[str]): The names that exist.
        cutoff (float): How alike they must be, from 0 to 1 (identical).

    Example:
        >>> did_you_mean('RandomSampler2', ['RandomSampler', 'OHEMSampler'])
        " Did you mean 'RandomSampler'?"
        >>> did_you_mean('xyz', ['RandomSampler'])
        ''
    """
    names = {str(candidate).lower(): str(candidate) for candidate in known}
    nearest = difflib.get_close_matches(name.lower(), list(names), n=1, cutoff=cutoff)
    return f" Did you mean '{names[nearest[0]]}'?" if nearest else ''


def first_of(names: Sequence[str]) -> str:
    """Join the first few names, and count the rest.

    Example:
        >>> first_of(['a', 'b', 'c', 'd', 'e', 'f', 'g'])
        'a; b; c; d; e; and 2 more'
    """
    rest = len(names) - NUM_NAMED
    return '; '.join(names[:NUM_NAMED]) + (f'; and {rest} more' if rest > 0 else '')
