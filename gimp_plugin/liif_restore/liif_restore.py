#!/usr/bin/env python3
"""Where GIMP starts the plug-in: GIMP 3 through gi, GIMP 2.10 through gimpfu; so valid in Python 2.7 and 3.9+."""

import os
import sys

# GIMP 2.10 does not always do so.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

try:
    import gimpfu  # noqa: F401 - only GIMP 2.10 has it
except ImportError:
    import gimp3 as face
else:
    import gimp2 as face

if __name__ == "__main__":
    face.main()
