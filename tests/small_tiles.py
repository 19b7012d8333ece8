"""An engine for tests of what cuts and joins tiles; a worker finds it by ``engine="small_tiles:SmallTiles"``."""

from __future__ import annotations

from typing import Any

from liif_engine import Engine


class SmallTiles(Engine):
    """The real engine with tiles so small that a small picture has many."""

    def tile_core(self) -> int:
        """As `Engine.tile_core`."""
        return 13

    def _core_size(self, *_: Any) -> int:
        return 13

    def _choice(self, _: str) -> Engine:
        return self
