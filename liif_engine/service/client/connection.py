"""A connection to the service: through its socket, or its loopback port."""

from __future__ import absolute_import, division, print_function, unicode_literals

import binascii
import hashlib
import hmac
import io
import json
import os
import socket

try:
    from http.client import HTTPConnection, HTTPException
except ImportError:  # Python 2.7
    from httplib import HTTPConnection, HTTPException

from .errors import NotRunning, start_words
from .folder import check_folder

#: How long to wait for one answer; a queued or running job's events come every second. [s]
ANSWER_SECONDS = 30


class _UnixConnection(HTTPConnection, object):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout):
        super(_UnixConnection, self).__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def connect(folder, timeout=ANSWER_SECONDS):
    """(HTTPConnection, token or None) to the service in a folder: its socket, or its loopback port.

    A service that was killed leaves the number of its port behind, which may be another program's by now: who listens
    there has to prove that it knows the token, before it is shown that or anything else.

    Raises NotRunning, or ServiceError for a folder that is not private to this user.
    """
    path = os.path.join(folder, "engine.sock")
    if not os.path.lexists(folder):
        raise NotRunning("the engine is not running (there is no folder %s)" % folder, start_words())
    # Who waits in a folder that another user made would be sent the user's pictures.
    check_folder(folder)
    reason = "there is no socket in %s" % folder
    if hasattr(socket, "AF_UNIX") and os.path.exists(path):
        connection = _UnixConnection(path, timeout)
        try:
            connection.connect()
            return connection, None
        except EnvironmentError as error:
            reason = "%s: %s" % (path, error)
            connection.close()
    try:
        with io.open(os.path.join(folder, "engine.port"), encoding="utf-8") as file:
            found = json.load(file)
        port, token = int(found["port"]), found["token"]
    except (EnvironmentError, ValueError, KeyError, TypeError):
        raise NotRunning("the engine is not running (%s)" % reason, start_words())
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.connect()
        if _knows(connection, token):
            return connection, token
        reason = "another program has its port, %d" % port
    except (EnvironmentError, HTTPException, OverflowError) as error:
        reason = "port %d: %s" % (port, error)
    connection.close()
    raise NotRunning("the engine is not running (%s)" % reason, start_words())


def _knows(connection, token):
    """Whether the other end of a connection, which stays open, knows the token."""
    challenge = binascii.hexlify(os.urandom(16))
    connection.request(str("GET"), str("/v1/proof"), None, {str("Liif-Challenge"): str(challenge.decode("ascii"))})
    response = connection.getresponse()
    proof = hmac.new(token.encode("utf-8"), challenge, hashlib.sha256).hexdigest()
    return response.read(len(proof)) == proof.encode("ascii") and response.status == 200
