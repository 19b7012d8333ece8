"""Parts of the ``liif`` command that need a room of their own; `cli.py` has the rest."""
