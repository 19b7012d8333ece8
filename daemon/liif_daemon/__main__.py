"""Where ``liif-daemon`` and ``python -m liif_daemon`` begin."""

from __future__ import annotations

import sys

from liif_engine.errors import Cancelled


def main() -> None:
    """The ``liif-daemon`` command; Ctrl+C has its words also while the command is still being loaded."""
    try:
        from liif_daemon import cli
    except KeyboardInterrupt:
        stopped = Cancelled("stopped; nothing is half-written")
        print(f"liif-daemon: {stopped}", file=sys.stderr)
        sys.exit(int(stopped.exit_code))
    cli.main()


if __name__ == "__main__":
    main()
