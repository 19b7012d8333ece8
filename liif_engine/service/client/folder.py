"""The user's own folder for the service's socket, and why another one is refused."""

from __future__ import absolute_import, division, print_function, unicode_literals

import errno
import os
import stat
import tempfile

from .errors import ServiceError


def runtime_folder():
    """The user's own folder for the service's socket.

    In this order: $LIIF_RUNTIME_DIR; liif-restore in $XDG_RUNTIME_DIR or /run/user/UID where that is the user's own;
    liif-restore-UID in the folder for temporary files. By its specification a relative $XDG_RUNTIME_DIR counts as none.
    """
    if os.environ.get("LIIF_RUNTIME_DIR"):
        return os.environ["LIIF_RUNTIME_DIR"]
    if os.name == "nt":
        return os.path.join(os.environ.get("LOCALAPPDATA") or tempfile.gettempdir(), "liif-restore")
    # The second, since programs started by cron, sudo or GIMP's sandbox may lack the variable.
    for base in (os.environ.get("XDG_RUNTIME_DIR"), "/run/user/%d" % os.getuid()):
        if base and os.path.isabs(base) and os.path.isdir(base) and os.stat(base).st_uid == os.getuid():
            return os.path.join(base, "liif-restore")
    return os.path.join(tempfile.gettempdir(), "liif-restore-%d" % os.getuid())


def check_folder(folder):
    """Refuses a folder that another user could have made or can write to. Raises ServiceError."""
    found = os.lstat(folder)
    if os.name == "nt":
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ServiceError(
            "%s is not a private folder of this user" % folder,
            "Set LIIF_RUNTIME_DIR to a folder that only you can use.",
        )


def make_folder(folder):
    """Makes the folder for the socket, for this user only; refuses one that is not private."""
    try:
        os.makedirs(folder, 0o700)
    except EnvironmentError as error:
        if error.errno != errno.EEXIST:
            raise ServiceError("%s cannot be made (%s)" % (folder, error.strerror), "Set LIIF_RUNTIME_DIR.")
    check_folder(folder)
