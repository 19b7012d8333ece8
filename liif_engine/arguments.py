"""What callers give, checked before any work."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from liif_engine.errors import UsageError


def amount(what: str, asked: Any) -> int:
    """How many of something a caller means, also by 1e6 or by a number of numpy's.

    Raises:
        UsageError: no number, or none from 1 to what is finite.
    """
    is_number = isinstance(asked, Real) and not isinstance(asked, bool)  # Python takes true for 1
    if not is_number or not 1 <= asked < math.inf:
        raise UsageError(f"{what} is a number of at least 1, not {asked!r}")
    return int(asked)
