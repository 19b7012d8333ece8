"""A whole folder into another: many workers, a journal that lets a run go on where it ended, a summary."""
