"""Where ``liif`` and ``python -m liif_engine`` begin."""

from liif_engine.begin import begin


def main() -> None:
    """The ``liif`` command."""
    begin("liif", "liif_engine.cli")


if __name__ == "__main__":
    main()
