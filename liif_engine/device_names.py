"""What devices are called, in commands, in config.yaml and by programs; whether there is such a one, torch knows."""

from __future__ import annotations

import re

from liif_engine.errors import DeviceError

WORDS = "auto, cpu, cuda, cuda:N or mps"


def check(name: str) -> None:
    """Refuses what is no device's name.

    Raises:
        DeviceError: it is none.
    """
    if re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name) is None:
        raise DeviceError(f"there is no device {name!r}", remedy=f"Use {WORDS}.")
