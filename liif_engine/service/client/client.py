"""What is asked of the service: its state, its models, and jobs."""

from __future__ import absolute_import, division, print_function, unicode_literals

import errno
import json
import os
import sys

try:
    from http.client import HTTPException
    from urllib.parse import quote_from_bytes as quote
except ImportError:  # Python 2.7
    from httplib import HTTPException
    from urllib import quote

from .connection import connect
from .errors import NotRunning, WrongVersion, refusal, start_words
from .folder import runtime_folder
from .job import Job
from .start import start_service

#: The version of the API that this file speaks.
API = 1


#: A body is sent in pieces of this size, since a socket's timeout holds for all that it is given at once. [bytes]
PIECE_BYTES = 1 << 20

#: What the system says where the other end has hung up; the last one is Windows' word for it too.
GONE = (errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED)


class Client(object):
    """Talks to one service.

    Args:
        folder: where its socket is; by default `runtime_folder()`.
        python: the interpreter that starts it; by default the recorded one.
        start: whether to start a service when none answers.
        name: who asks, for fair turns among equals.
        arguments: more words of `liif serve` for one that this client starts, such as ("--device", "cpu").
    """

    def __init__(self, folder=None, python=None, start=True, name=None, arguments=()):
        # Absolute, since a service that is started has a working folder of its own.
        self.folder = os.path.abspath(folder or runtime_folder())
        self.python, self.start, self.arguments = python, start, tuple(arguments)
        self.name = name or "%s-%d" % (os.path.basename(sys.argv[0] or "python")[:60], os.getpid())
        self._is_checked = False

    def status(self):
        """What the service says of itself, as a dict."""
        return self._call("GET", "/v1/status")

    def models(self):
        """The models that there are, as a list of dicts."""
        return self._call("GET", "/v1/models")["models"]

    def submit_pixels(self, data, shape, dtype, **options):
        """Sends raw pixels; returns a `Job`.

        Args:
            data: bytes: rows from the top, channels interleaved, little endian.
            shape: (height, width, channels), 1 to 4 channels.
            dtype: "u8", "u16", "f16" or "f32".
            options: exactly one of scale, size (width, height), long_edge and megapixels; if wanted model, precision,
                priority ("person", or "backlog", which lets persons go first), detach, timeout_seconds.
        """
        asked = self._asked(dict(options, shape=list(shape), dtype=dtype))
        return self._post(data, {"Content-Type": "application/octet-stream", "Liif-Job": asked})

    def submit_image(self, data, **options):
        """Sends a picture file's bytes; returns a `Job` whose result is a picture file's bytes.

        Options as in `submit_pixels`, and format ("png", "jpeg", ...; by default the picture's own), quality,
        allow_truncated.
        """
        return self._post(data, {"Content-Type": "image/*", "Liif-Job": self._asked(options)})

    def submit_file(self, source, destination=None, **options):
        """Names a picture file and its result, both on the service's machine; returns a `Job`.

        Options as in `submit_image`, and overwrite. Without a destination the result is ``name@2x.ext`` beside the
        source.
        """
        options["source"] = _as_sent(source)
        if destination is not None:
            options["destination"] = _as_sent(destination)
        return self._post(self._asked(options).encode("ascii"), {"Content-Type": "application/json"})

    def restore_pixels(self, data, shape, dtype, on_progress=None, **options):
        """Sends raw pixels, waits, and returns (bytes, shape) of the result; arguments as in `submit_pixels`.

        `on_progress` is called with the job's state and share done; what it raises cancels the job.
        """
        job = self.submit_pixels(data, shape, dtype, **options)
        try:
            last = job.wait(on_progress)
            return job.result(), tuple(last["result"]["shape"])
        finally:
            job.forget()

    def restore_image(self, data, on_progress=None, **options):
        """Sends a picture file's bytes, waits, and returns the result's bytes; arguments as in `submit_image`."""
        job = self.submit_image(data, **options)
        try:
            job.wait(on_progress)
            return job.result()
        finally:
            job.forget()

    def restore_file(self, source, destination=None, on_progress=None, **options):
        """Names a file and its result, waits, and returns the job's last state; arguments as in `submit_file`."""
        job = self.submit_file(source, destination, **options)
        try:
            return job.wait(on_progress)
        finally:
            job.forget()

    def ensure_running(self):
        """Returns when a service of our version answers; starts one if there is none.

        Raises NotRunning or WrongVersion.
        """
        try:
            status = self.request("GET", "/v1/status")
        except NotRunning:
            if not self.start:
                raise
            start_service(self.folder, self.python, arguments=self.arguments)
            status = self.request("GET", "/v1/status")
        if status.get("api") != API:
            raise WrongVersion(
                "the engine that runs has version %s, which this program does not speak" % status.get("version"),
                "Stop it (kill %s) and install the same version of both." % status.get("pid"),
            )
        self._is_checked = True
        return status

    def _asked(self, options):
        if options.get("size") is not None:
            options["size"] = list(options["size"])
        given = dict((key, value) for key, value in options.items() if value is not None)
        given.setdefault("client", self.name)
        return json.dumps(given)

    def _post(self, body, headers):
        return Job(self, self._call("POST", "/v1/jobs", body, headers)["id"])

    def _call(self, method, path, body=None, headers=None):
        """A request to a service that is known to run; once more if it has ended meanwhile."""
        if not self._is_checked:
            self.ensure_running()
        try:
            return self.request(method, path, body, headers)
        except NotRunning:
            self.ensure_running()
            return self.request(method, path, body, headers)

    def request(self, method, path, body=None, headers=None):
        """Sends a request and returns what the service says, a dict; raises ServiceError."""
        response = self.open(method, path, body, headers)
        try:
            return json.loads(response.read().decode("utf-8"))
        except (EnvironmentError, HTTPException, ValueError) as error:
            raise NotRunning("the engine went away in the middle of its answer (%s)" % error, "Try again.")
        finally:
            response.close()

    def open(self, method, path, body=None, headers=None):
        """Sends a request and returns the response, to be read and closed; raises ServiceError for a refusal."""
        connection, token = connect(self.folder)
        headers = dict(headers or {}, Connection="close")
        if token:
            headers["Authorization"] = "Bearer " + token
        body = body or b""
        if body:
            headers["Content-Length"] = len(body)
        # httplib of Python 2.7 joins them, which must not turn bytes into text.
        headers = dict((str(key), str(value)) for key, value in headers.items())
        try:
            try:
                connection.request(str(method), str(path), None, headers)
                for start in range(0, len(body), PIECE_BYTES):
                    connection.send(body[start : start + PIECE_BYTES])
            except EnvironmentError as error:
                # The service may have refused and closed before it read all: then its answer tells why.
                if error.errno not in GONE:
                    raise
            response = connection.getresponse()
        except (EnvironmentError, HTTPException) as error:
            connection.close()
            if isinstance(error, HTTPException) or error.errno in GONE:
                # It had answered the call: it was there, and died.
                raise NotRunning("the engine went away (%s)" % (error or type(error).__name__), "Try again.")
            raise NotRunning("the engine does not answer (%s)" % (error or type(error).__name__), start_words())
        if response.status >= 400:
            raise refusal(response)
        return response


def _as_sent(path):
    """A path for JSON: as text, or as a URI where it is not UTF-8. Relative ones become absolute."""
    if isinstance(path, bytes):
        octets = path
    elif hasattr(os, "fsencode"):
        octets = os.fsencode(path)
    else:  # Python 2.7
        octets = path.encode(sys.getfilesystemencoding() or "utf-8")
    octets = os.path.abspath(octets)
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return "file://" + quote(octets)
