"""Lines of the log whose words a run with `once` repeats at its end: on stderr, people are to read them once."""

from __future__ import annotations

import logging
from typing import Final

#: What a log call that names a failure is given as `extra`.
AT_THE_END: Final = {"told_at_the_end": True}


def is_news(record: logging.LogRecord) -> bool:
    """Whether nothing at the end of a run with `once` says the same; a filter of logging's."""
    return not getattr(record, "told_at_the_end", False)
