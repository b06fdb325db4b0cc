"""The exceptions for a user's mistake and a user's signal, and what is said of them."""

from __future__ import annotations

import difflib
import re
import reprlib
import signal
from collections.abc import Iterable, Sequence
from typing import Any

NUM_NAMED = 5
"""Names shown of each kind of trouble; the rest is counted."""
UNPRINTABLE = re.compile(
    r'[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]'
)
"""Letters that move the cursor, colour what follows, or have no form; all but a new
line, which parts the lines of a report."""
LONG_WORD = re.compile(r'(\S{300})\S{100,}')
LONGEST_REASON = 300
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


class UserError(Exception):
    """A mistake in what the user gave: a config, a path, a name, a file, a flag.

    Command-line tools print it as ``error: MESSAGE`` without a traceback and exit
    with code 2, so the message must stand alone: what is wrong, where (file, id,
    key), and what to do about it. What comes from a file and cannot be printed is
    escaped in it, and words of many hundred letters are cut.
    """

    def __init__(self, message: str) -> None:
        message = UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], message)
        super().__init__(LONG_WORD.sub(r'\1...', message))


def shown(value: Any) -> str:
    """Return a value from a file as a message shows it: on one line, and short.

    Example:
        >>> shown({'a': [0] * 1000}), shown('cat')
        ("{'a': [0, 0, 0, 0, 0, 0, ...]}", "'cat'")
    """
    return re.sub(r'\n\s*', ' ', _SHORT.repr(value))


def reason_of(error: Exception) -> str:
    """Return what a library says is wrong with a file, on one line that ends."""
    text = ' '.join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f'{text[:LONGEST_REASON]}...'


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


def summary_of(error: Exception) -> str:
    """Return the kind of an error and the first line of what it says.

    Example:
        >>> summary_of(ValueError('no such size' + chr(10) + 'See the manual'))
        'ValueError: no such size'
    """
    return f'{type(error).__name__}: {str(error).partition(chr(10))[0]}'
