"""What restoring a file needs of an engine, so that others may stand for one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    # Planning and dry runs need no torch.
    from liif_engine.progress import OnProgress
    from liif_engine.restore import Pixels


class Restorer(Protocol):
    """What restoring a file asks of an engine: `Engine` has it, and so has what stands for one."""

    @property
    def model_name(self) -> str:
        """For the result's own record, and for whoever asked."""

    def check_memory(
        self, width: int, height: int, channels: int, bits: int = 8, /, *, beside: int | None = None
    ) -> None:
        """As `Engine.check_memory`; any thread may call it."""

    def for_picture(self, pixels: Pixels, file: Path | None = None, /) -> Restorer:
        """As `Engine.for_picture`."""

    def restore(
        self,
        pixels: Pixels,
        *,
        size: tuple[int, int],
        layout: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Pixels:
        """As `Engine.restore`."""

    def precision_for(self, bits: int, /) -> str:
        """As `Engine.precision_for`."""
