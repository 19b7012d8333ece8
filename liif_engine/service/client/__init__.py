"""Finds or starts the engine's service and talks to it: standard library only, one source for Python 2.7 and 3.9+.

Old GIMPs run Python 2.7, and GIMP's plug-in carries a copy of this folder, so it imports nothing of ours; its types are
in __init__.pyi. ``Client().restore_pixels(data, (height, width, 3), "u8", scale=2)`` is the shortest use.

What is named here is the interface. All errors are `ServiceError`s: `kind` is the engine's class of error and
`exit_code` what `liif restore` would end with; `retryable` tells whether the same job may go well later (the service
died, memory ran out, a worker crashed, time ran out, the disk is full) or never will (a damaged picture).
"""

from __future__ import absolute_import

from .client import API, Client
from .connection import connect
from .errors import Cancelled, NotRunning, ServiceError, WrongVersion
from .folder import check_folder, make_folder, runtime_folder
from .interpreter import clean_environment, find_interpreter, record_interpreter
from .job import Job
from .start import LOG_BYTES, LOG_NAME, START_SECONDS, start_service

__all__ = [
    "API",
    "LOG_BYTES",
    "LOG_NAME",
    "START_SECONDS",
    "Cancelled",
    "Client",
    "Job",
    "NotRunning",
    "ServiceError",
    "WrongVersion",
    "check_folder",
    "clean_environment",
    "connect",
    "find_interpreter",
    "make_folder",
    "record_interpreter",
    "runtime_folder",
    "start_service",
]
