"""``python -m liif_engine`` is the ``liif`` command."""

from __future__ import annotations

from liif_engine.cli import main

main()
