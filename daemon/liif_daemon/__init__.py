"""Watches folders and restores what is dropped there, in place; an original is never lost."""
