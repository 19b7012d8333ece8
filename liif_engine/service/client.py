"""Finds or starts the engine's service and talks to it: standard library only, one source for Python 2.7 and 3.9+.

Old GIMPs run Python 2.7, and GIMP's plug-in carries a copy of this file, so it imports nothing of ours; its types are
in client.pyi. ``Client().restore_pixels(data, (height, width, 3), "u8", scale=2)`` is the shortest use.

The names without a leading underscore are the interface. All errors are `ServiceError`s: `kind` is the engine's class
of error and `exit_code` what `liif restore` would end with; `retryable` tells whether the same job may go well later
(the service died, memory ran out, a worker crashed, time ran out, the disk is full) or never will (a damaged picture).
"""

from __future__ import absolute_import, division, print_function, unicode_literals

import errno
import io
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

try:
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import quote_from_bytes as quote
except ImportError:  # Python 2.7
    from httplib import HTTPConnection, HTTPException
    from urllib import quote

#: The version of the API that this file speaks.
API = 1

#: How long to wait for one answer; a queued or running job's events come every second. [s]
ANSWER_SECONDS = 30

#: A body is sent in pieces of this size, since a socket's timeout holds for all that it is given at once. [bytes]
PIECE_BYTES = 1 << 20

#: How long the service may take to start: Python's imports on a slow disk. [s]
START_SECONDS = 60

#: How long another one may take that was started at the same moment, when ours has ended because of it. [s]
GIVE_UP_SECONDS = 5

#: A service that this file started ends when nobody has used it for so long. [s]
IDLE_SECONDS = 900

#: What a child must not inherit from a program that brings its own Python or libraries, as GIMP does.
FOREIGN_VARIABLES = ("GI_TYPELIB_PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
FOREIGN_PREFIXES = ("PYTHON", "GIMP", "BABL_", "GEGL_")

#: A log longer than this is begun anew. [bytes]
LOG_BYTES = 1 << 20

#: Starts the service, given an interpreter that has liif_engine.
START_CODE = "from liif_engine.cli import main; main()"


class ServiceError(Exception):
    """The service refused, failed, or is not there.

    Attributes: message, remedy, kind (the engine's name for the error), exit_code, status (of HTTP, or None),
    retryable (whether the same may go well later though nothing is changed).
    """

    def __init__(self, message, remedy="", kind="ServiceError", exit_code=10, status=None, retryable=False):
        super(ServiceError, self).__init__(message)
        self.message, self.remedy, self.kind = message, remedy, kind
        self.exit_code, self.status, self.retryable = exit_code, status, retryable

    def explain(self):
        """One line for people: what happened and, if known, what to do."""
        return "%s. %s" % (self.message, self.remedy) if self.remedy else self.message


class NotRunning(ServiceError):
    """No service answers, or it died on the way; what it was doing is lost and may be asked for again."""

    def __init__(self, message, remedy=""):
        super(NotRunning, self).__init__(message, remedy, "NotRunning", 10, None, True)


class WrongVersion(ServiceError):
    """The service speaks another version of the API."""

    def __init__(self, message, remedy=""):
        super(WrongVersion, self).__init__(message, remedy, "WrongVersion")


class Cancelled(ServiceError):
    """The job was cancelled."""


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
        self.folder = folder or runtime_folder()
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
            status = self._request("GET", "/v1/status")
        except NotRunning:
            if not self.start:
                raise
            start_service(self.folder, self.python, arguments=self.arguments)
            status = self._request("GET", "/v1/status")
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
            return self._request(method, path, body, headers)
        except NotRunning:
            self.ensure_running()
            return self._request(method, path, body, headers)

    def _request(self, method, path, body=None, headers=None):
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
                if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                    raise
            response = connection.getresponse()
        except (EnvironmentError, HTTPException) as error:
            connection.close()
            if isinstance(error, HTTPException) or error.errno in (errno.EPIPE, errno.ECONNRESET):
                # It had answered the call: it was there, and died.
                raise NotRunning("the engine went away (%s)" % (error or type(error).__name__), "Try again.")
            raise NotRunning("the engine does not answer (%s)" % (error or type(error).__name__), _start_words())
        if response.status >= 400:
            raise _refusal(response)
        return response


class Job(object):
    """A job of the service. Attributes: id, and `last`, the latest state heard.

    A state is a dict: "state" is queued, running, done, failed or cancelled; "share" is how much is done, 0 to 1; a
    failed one has "error" (kind, message, remedy, exit_code, retryable), a done one "result" (width, height, model,
    precision, ...; of a file job also destination, format, source_sha256, notes).
    """

    def __init__(self, client, id):
        self.client, self.id, self.last = client, id, {}

    def events(self):
        """Yields the job's state, a dict, after each change and at least every second, until it is over.

        Closing this generator early cancels the job, as does the end of this process.
        """
        response = self.client.open("GET", "/v1/jobs/%s/events" % self.id)
        try:
            while True:
                line = response.readline() if hasattr(response, "readline") else _read_line(response)
                if not line:
                    break
                self.last = json.loads(line.decode("utf-8"))
                yield self.last
        except (EnvironmentError, HTTPException) as error:
            raise NotRunning("the engine went away (%s)" % error, "Try again.")
        finally:
            response.close()
        if self.last.get("state") not in ("done", "failed", "cancelled"):
            raise NotRunning("the engine went away", "Try again.")

    def wait(self, on_progress=None):
        """Follows the job to its end and returns its last state; raises ServiceError if there is no result."""
        events = self.events()
        try:
            for event in events:
                if on_progress is not None:
                    on_progress(event["state"], event["share"])
        finally:
            events.close()
        if self.last["state"] != "done":
            raise _as_error(self.last.get("error") or {}, None, self.last["state"] == "cancelled")
        return self.last

    def state(self):
        """The job's state now, a dict."""
        return self.client._request("GET", "/v1/jobs/%s" % self.id)

    def result(self):
        """The result's bytes."""
        response = self.client.open("GET", "/v1/jobs/%s/result" % self.id)
        try:
            length = int(response.getheader("Content-Length") or 0)
            data = response.read()
        except (EnvironmentError, HTTPException) as error:
            raise NotRunning("the engine went away (%s)" % error, "Try again.")
        finally:
            response.close()
        if len(data) != length:
            raise NotRunning("the engine went away in the middle of the result", "Try again.")
        return data

    def cancel(self):
        """Ends the job at the next batch of tiles; frees its result if it is over."""
        return self.client._request("DELETE", "/v1/jobs/%s" % self.id)

    def forget(self):
        """As `cancel`, but it does not matter whether the service or the job is still there."""
        try:
            self.cancel()
        except ServiceError:
            pass


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

    Raises NotRunning, or ServiceError for a folder that is not private to this user.
    """
    path = os.path.join(folder, "engine.sock")
    if not os.path.lexists(folder):
        raise NotRunning("the engine is not running (there is no folder %s)" % folder, _start_words())
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
        connection = HTTPConnection("127.0.0.1", int(found["port"]), timeout=timeout)
        connection.connect()
        return connection, found["token"]
    except (EnvironmentError, ValueError, KeyError):
        raise NotRunning("the engine is not running (%s)" % reason, _start_words())


def runtime_folder():
    """The user's own folder for the service's socket.

    In this order: $LIIF_RUNTIME_DIR; liif-restore in $XDG_RUNTIME_DIR or /run/user/UID where that is the user's own;
    liif-restore-UID in the folder for temporary files.
    """
    if os.environ.get("LIIF_RUNTIME_DIR"):
        return os.environ["LIIF_RUNTIME_DIR"]
    if os.name == "nt":
        return os.path.join(os.environ.get("LOCALAPPDATA") or tempfile.gettempdir(), "liif-restore")
    # The second, since programs started by cron, sudo or GIMP's sandbox may lack the variable.
    for base in (os.environ.get("XDG_RUNTIME_DIR"), "/run/user/%d" % os.getuid()):
        if base and os.path.isdir(base) and os.stat(base).st_uid == os.getuid():
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
            "Delete it, or set XDG_RUNTIME_DIR to a folder that only you can use.",
        )


def make_folder(folder):
    """Makes the folder for the socket, for this user only; refuses one that is not private."""
    try:
        os.makedirs(folder, 0o700)
    except EnvironmentError as error:
        if error.errno != errno.EEXIST:
            raise ServiceError("%s cannot be made (%s)" % (folder, error.strerror), "Set XDG_RUNTIME_DIR.")
    check_folder(folder)


def record_interpreter(python, version):
    """Remembers which interpreter has the engine, for programs that run in another one."""
    path = _record_path()
    try:
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path), 0o700)
        text = json.dumps({"python": python, "version": version})
        with io.open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text if isinstance(text, str) else text.decode("ascii"))
        if os.name == "nt" and os.path.exists(path):
            os.remove(path)
        os.rename(path + ".new", path)
    except EnvironmentError:
        pass  # a convenience; without it the other program asks the user


def find_interpreter():
    """An interpreter that has the engine, or None.

    In this order: $LIIF_PYTHON; engine.json beside this file (the plug-in's installer writes it); this interpreter, if
    this file is part of an installed engine; what `record_interpreter` wrote.
    """
    if os.environ.get("LIIF_PYTHON"):
        return os.environ["LIIF_PYTHON"]
    here = os.path.dirname(os.path.abspath(__file__))
    beside = _recorded(os.path.join(here, "engine.json"))
    if beside:
        return beside
    if os.path.exists(os.path.join(here, "serve.py")) and sys.version_info[0] > 2 and sys.executable:
        return sys.executable
    return _recorded(_record_path())


def clean_environment(environment):
    """A copy of the environment without what a program such as GIMP sets for its own Python and libraries."""
    return dict(
        (key, value)
        for key, value in environment.items()
        if key not in FOREIGN_VARIABLES and not key.startswith(FOREIGN_PREFIXES)
    )


def start_service(folder, python=None, seconds=START_SECONDS, arguments=()):
    """Starts a service and returns when it answers. Two at once do no harm: one of them ends.

    Args:
        folder: for its socket.
        python: the interpreter; by default `find_interpreter()`.
        seconds: how long to wait.
        arguments: more words of `liif serve`.

    Raises NotRunning with the end of the service's log.
    """
    python = python or find_interpreter()
    if not python:
        raise NotRunning("the engine is not installed, or has never run", _start_words())
    make_folder(folder)
    log_path = os.path.join(folder, "engine.log")
    environment = clean_environment(os.environ)
    environment["LIIF_RUNTIME_DIR"] = folder
    command = [python, "-c", START_CODE, "serve", "--exit-when-idle", str(IDLE_SECONDS)]
    command.extend(arguments)
    if os.name == "nt":
        options = {"creationflags": 0x00000208}  # detached, in a process group of its own
    elif sys.version_info[0] > 2:
        options = {"start_new_session": True}
    else:
        options = {"preexec_fn": os.setsid}
    mode = "wb" if os.path.exists(log_path) and os.path.getsize(log_path) > LOG_BYTES else "ab"
    try:
        with open(os.devnull, "rb") as nothing, open(log_path, mode) as log:
            child = subprocess.Popen(
                command, stdin=nothing, stdout=log, stderr=log, env=environment, cwd=folder, close_fds=True, **options
            )
    except EnvironmentError as error:
        raise NotRunning("%s cannot be started (%s)" % (python, error.strerror), _start_words())
    try:
        _wait_until_it_answers(folder, child, log_path, time.time() + seconds)
    finally:
        # It goes on without this process, which while it lives must still collect it when it ends.
        collector = threading.Thread(target=child.wait)
        collector.daemon = True
        collector.start()


def _wait_until_it_answers(folder, child, log_path, deadline):
    ended = None
    while time.time() < deadline:
        try:
            connect(folder, 5)[0].close()
            return
        except NotRunning:
            # Another one may have been first: then ours has ended, and the other one answers soon.
            if ended is None and child.poll() is not None:
                ended = time.time()
            if ended is not None and time.time() - ended > GIVE_UP_SECONDS:
                break
            time.sleep(0.05)
    raise NotRunning("the engine did not start: %s" % (_tail(log_path) or "it said nothing"), _start_words())


def _tail(path):
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 2000))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except EnvironmentError:
        return ""
    return " ".join(lines[-2:])


def _refusal(response):
    try:
        found = json.loads(response.read().decode("utf-8")).get("error") or {}
    except (EnvironmentError, ValueError, AttributeError, HTTPException):
        found = {}
    status = response.status
    response.close()
    return _as_error(found, status, False)


def _as_error(found, status, cancelled):
    kind = Cancelled if cancelled else ServiceError
    message = found.get("message") or "the engine answered with %s" % status
    return kind(
        message,
        found.get("remedy", ""),
        found.get("kind", "ServiceError"),
        found.get("exit_code", 10),
        status,
        bool(found.get("retryable", status == 503)),
    )


def _read_line(response):
    """A line of a Python 2.7 response, which has no readline and whose read waits for all that is asked for."""
    line = []
    while True:
        octet = response.read(1)
        line.append(octet)
        if octet in (b"", b"\n"):
            return b"".join(line)


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


def _recorded(path):
    try:
        with io.open(path, encoding="utf-8") as file:
            python = json.load(file)["python"]
    except (EnvironmentError, ValueError, KeyError, TypeError):
        return None
    return python if os.path.exists(python) else None


def _record_path():
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~")
    else:
        base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "liif-restore", "engine.json")


def _start_words():
    return "Run `liif serve` once, or `pip install liif-restore` if it is not installed."
