"""Whose program is at the other end of a loopback connection, where the system tells (Linux)."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

#: The kernel's list of IPv4 connections: local address, remote address, ..., user id in the eighth column.
CONNECTIONS = Path("/proc/net/tcp")

_LOCAL, _REMOTE, _USER = 1, 2, 7


def is_foreign(client: tuple[str, int] | None, server: tuple[str, int | None] | None) -> bool:
    """Whether a connection comes from another user of this machine.

    The administrator is no stranger; nor is anybody to a page that the administrator runs, whose browser may be a
    user's.

    Args:
        client: address and port of the caller.
        server: address and port that it called.
    """
    if client is None or server is None or server[1] is None or not hasattr(os, "getuid") or os.getuid() == 0:
        return False
    return owner_of(client, (server[0], server[1])) not in {None, 0, os.getuid()}


def owner_of(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """The user whose program has opened a connection; None if the system does not tell."""
    try:
        wanted = [_as_listed(*client), _as_listed(*server)]
        lines = CONNECTIONS.read_text("ascii").splitlines()[1:]
    except OSError:
        return None
    for line in lines:
        columns = line.split()
        if columns[_LOCAL : _REMOTE + 1] == wanted:
            return int(columns[_USER])
    return None


def _as_listed(host: str, port: int) -> str:
    """The address's bytes as one number of this machine's byte order, in hexadecimal."""
    return f"{struct.unpack('=I', socket.inet_aton(host))[0]:08X}:{port:04X}"
