"""A job of the service, from its first state to its result."""

from __future__ import absolute_import, division, print_function, unicode_literals

import json

try:
    from http.client import HTTPException
except ImportError:  # Python 2.7
    from httplib import HTTPException

from .errors import NotRunning, ServiceError, as_error


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
            raise as_error(self.last.get("error") or {}, None, self.last["state"] == "cancelled")
        return self.last

    def state(self):
        """The job's state now, a dict."""
        return self.client.request("GET", "/v1/jobs/%s" % self.id)

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
        return self.client.request("DELETE", "/v1/jobs/%s" % self.id)

    def forget(self):
        """As `cancel`, but it does not matter whether the service or the job is still there."""
        try:
            self.cancel()
        except ServiceError:
            pass


def _read_line(response):
    """A line of a Python 2.7 response, which has no readline and whose read waits for all that is asked for."""
    line = []
    while True:
        octet = response.read(1)
        line.append(octet)
        if octet in (b"", b"\n"):
            return b"".join(line)
