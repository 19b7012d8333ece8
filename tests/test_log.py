"""Log lines are lines, whatever is in a name that they tell of."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from liif_engine import log


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """Whoever listened before listens again afterwards."""
    logger = logging.getLogger()
    level, handlers = logger.level, logger.handlers[:]
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


def test_a_name_breaks_no_line_of_the_service_s_log_and_steers_no_terminal() -> None:
    said = io.StringIO()
    log.show_lines("liif: %(message)s", level=logging.INFO, stream=said)
    log.emit("worker", logging.INFO, "/old/a\nliif: b\x1b[2J.jpg: model web", job="12\n", pid=1)
    assert said.getvalue() == "liif: /old/a\\nliif: b\\x1b[2J.jpg: model web\n"


def test_a_traceback_has_its_lines() -> None:
    said = io.StringIO()
    log.show_lines("%(message)s", level=logging.INFO, stream=said)
    try:
        raise ValueError("so")
    except ValueError:
        logging.getLogger("x").exception("a fault")
    assert said.getvalue().startswith("a fault\nTraceback")
