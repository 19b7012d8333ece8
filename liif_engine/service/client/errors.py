"""What may go wrong between a program and the service, as exceptions with words for people."""

from __future__ import absolute_import, division, print_function, unicode_literals

import json

try:
    from http.client import HTTPException
except ImportError:  # Python 2.7
    from httplib import HTTPException


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


def refusal(response):
    """A response of 400 or more, closed, as an error."""
    try:
        found = json.loads(response.read().decode("utf-8")).get("error") or {}
    except (EnvironmentError, ValueError, AttributeError, HTTPException):
        found = {}
    status = response.status
    response.close()
    return as_error(found, status, False)


def as_error(found, status, cancelled):
    """An error that the service told of, a dict, as an exception."""
    kind = Cancelled if cancelled else ServiceError
    message = found.get("message") or "the engine answered with %s" % status
    return kind(
        message,
        found.get("remedy", ""),
        found.get("kind", "LiifError"),  # not ServiceError, which the service says of its own end
        found.get("exit_code", 10),
        status,
        bool(found.get("retryable", status == 503)),
    )


def start_words():
    """What to do where no service can be had."""
    return "Run `liif serve` once, or `pip install liif-restore` if it is not installed."
