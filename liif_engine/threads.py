"""How long the helper threads of torch's operations watch for the next operation before they sleep."""

from __future__ import annotations

import os

#: Looks at the queue before sleeping, some tenths of a millisecond: longer than from one operation to the next of the
#: encoder, and far less than the several milliseconds that GNU's OpenMP, which torch comes with on Linux, takes.
LOOKS = 10_000


def sleep_soon() -> None:
    """Has idle helper threads sleep early; for programs of our own, before torch is loaded.

    The decoder's threads start when the encoder ends, and each would share its core with a helper that still looks out
    for work. Whoever sets one of OpenMP's own variables is left alone.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = str(LOOKS)
