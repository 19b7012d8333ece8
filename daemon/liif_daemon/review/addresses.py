"""What the page's addresses and forms say besides the path: which rows, and where in their list."""

from __future__ import annotations

import re
from dataclasses import asdict
from urllib.parse import urlencode

from liif_daemon.ledger.review import VIEWS, Filter

#: Longer words are cut.
MAX_LETTERS = 500


def filter_of(values: dict[str, str]) -> Filter:
    """The filter that an address or a form speaks of; anything unknown counts as not said."""
    view = values.get("view", "review")
    said = {key: values.get(key, "")[:MAX_LETTERS] for key in ("search", "folder", "model")}
    return Filter(view if view in VIEWS else "review", **said)


def given(asked: Filter) -> dict[str, str]:
    """What a filter says, for an address or a form."""
    return {key: value for key, value in asdict(asked).items() if value}


def address(path: str, asked: Filter, *, after: str = "") -> str:
    """An address on this page."""
    return f"{path}?{urlencode({**given(asked), **({'after': after} if after else {})})}"


def cursor_of(text: str) -> int | None:
    """The place in a list that an address speaks of."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None  # as SQLite counts
