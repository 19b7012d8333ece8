"""The page: facts become sentences and pictures, and a template lays them out."""
from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from liif_engine.lab.explain import Explanation
def html(story: Explanation) -> str:
    import json
    return "<!doctype html><pre>"+json.dumps(story.as_dict(),indent=1)
