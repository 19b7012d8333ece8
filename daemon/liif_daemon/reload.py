"""Settings that change while the daemon runs: read and checked beside its main loop, since that may take long."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from liif_daemon import places
from liif_daemon.asking import Question
from liif_daemon.dispatch import Daemon
from liif_daemon.first_run import agree
from liif_daemon.settings import Settings
from liif_engine.errors import ConfigError, LiifError, UsageError, fault

log = logging.getLogger(__name__)


class Reload:
    """Notices that config.yaml has changed, and has the daemon use what is in it.

    Args:
        daemon: that uses the settings.
        load: reads them.
    """

    def __init__(self, daemon: Daemon, load: Callable[[], Settings]) -> None:
        self.daemon, self.load = daemon, load
        self._written = _written(daemon.settings.path)
        self._found: Settings | None = None
        self._asked = False
        self._read = Question(self._look)

    def tick(self, *, asked: bool) -> None:
        """Called by the main loop.

        Args:
            asked: read them even if the file has not changed; if they are just being read, once more.
        """
        self._asked |= asked
        if self._read.is_open:
            return
        found, self._found = self._found, None
        if found is not None and found != self.daemon.settings:
            self.daemon.reload(found)
            if found.folders:
                log.info("the new settings are used")
            else:
                log.warning("the new settings are used; they name no folder, so none is watched any more")
        now = _written(self.daemon.settings.path)
        if self._asked or now != self._written:
            self._asked, self._written = False, now
            self._read.put()

    def _look(self) -> None:
        self._found = read_anew(self.daemon, self.load)


def read_anew(daemon: Daemon, load: Callable[[], Settings]) -> Settings | None:
    """The new settings, if the daemon can go on with them; `status` shows why not."""
    try:
        settings = load()
        if settings.path is None and daemon.settings.path is not None:
            remedy = "Put it back; to go on without it, restart the daemon."
            raise ConfigError("has gone", path=daemon.settings.path, remedy=remedy)
        places.check_layout(settings)
        if settings.daemon != daemon.settings.daemon:
            raise UsageError("the daemon: section has changed", remedy="Restart the daemon to use it.")
        agree(settings, daemon.ledger)
    except LiifError as caught:
        error = caught
    except OSError as caught:
        error = ConfigError(caught.strerror or str(caught), path=caught.filename)
    except Exception as caught:
        log.exception("the new settings cannot be read")
        error = fault(caught)
    else:
        daemon.progress.write(config_error=None)
        return settings
    log.error("the new settings are not used: %s", error.explain())
    daemon.progress.write(config_error=f"The new settings are not used: {error.explain()}")
    return None


def _written(path: Path | None) -> tuple[int, int, int] | None:
    """What tells one state of a file from the next: its time alone may be that of a copy, or count whole seconds."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return found and (found.st_mtime_ns, found.st_size, found.st_ino)
