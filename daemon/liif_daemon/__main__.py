"""``python -m liif_daemon`` is ``liif-daemon``."""

from liif_daemon.cli import main

if __name__ == "__main__":
    main()
