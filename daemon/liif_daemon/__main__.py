"""Where ``liif-daemon`` and ``python -m liif_daemon`` begin."""

from liif_engine.begin import begin


def main() -> None:
    """The ``liif-daemon`` command."""
    begin("liif-daemon", "liif_daemon.cli")


if __name__ == "__main__":
    main()
