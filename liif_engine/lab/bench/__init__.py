"""``liif bench``: how fast this engine is on this machine, beside what else enlarges pictures, in one run."""
