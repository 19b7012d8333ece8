"""Figures for Prometheus: how they are named, and the port where they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from liif_engine.errors import ServiceError, UsageError

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4

#: Where figures are shown if only a port is named: to programs of this machine.
LOOPBACK = "127.0.0.1"

#: (labels, value) of each line of a metric.
Samples = Iterable[tuple[Mapping[str, str], float]]


def counter(name: str, words: str, samples: Samples | float) -> Metric:
    """A figure that only grows; ``liif_NAME_total`` in the text."""
    return _filled(CounterMetricFamily, name, words, samples)


def gauge(name: str, words: str, samples: Samples | float) -> Metric:
    """A figure that goes up and down."""
    return _filled(GaugeMetricFamily, name, words, samples)


def text_of(collector: Collector) -> str:
    """All figures as they are now, in Prometheus' text format."""
    return generate_latest(_registry(collector)).decode()


def host_and_port(address: str) -> tuple[str, int]:
    """What ``PORT`` or ``HOST:PORT`` means.

    Raises:
        UsageError: it is neither.
    """
    match = re.fullmatch(r"(?:(\S+):)?(\d{1,5})", address)
    if match is None or not 1 <= int(match[2]) <= 65535:  # 0 would be any port, of which nobody is told
        raise UsageError(f"figures are shown at [HOST:]PORT, not at {address!r}", remedy="A port is 1 to 65535.")
    return match[1] or LOOPBACK, int(match[2])


def in_words(error: OSError | UnicodeError) -> str:
    """Why there can be no figures at a place; a name that no host can have is a UnicodeError."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def show(address: str, collector: Collector, *, setting: str = "--metrics") -> None:
    """Shows the figures over HTTP, from a thread of its own, until the process ends.

    Args:
        address: ``PORT``, or ``HOST:PORT`` to show them to other machines too; they hold counts, no names of files.
        collector: asked at each look.
        setting: where the address was named.

    Raises:
        UsageError: no address.
        ServiceError: the port cannot be had.
    """
    host, port = host_and_port(address)
    try:
        start_http_server(port, host, _registry(collector))
    except (OSError, UnicodeError) as error:
        remedy = f"Name another host or port with {setting}."
        raise ServiceError(f"figures cannot be shown at {address} ({in_words(error)})", remedy=remedy) from error


def _registry(collector: Collector) -> CollectorRegistry:
    # Of its own: the library's common one would show figures of other programs in this process.
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def _filled(
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily], name: str, words: str, samples: Samples | float
) -> Metric:
    family = kind(f"liif_{name}", words)
    for labels, value in [({}, samples)] if isinstance(samples, int | float) else samples:
        suffix = "_total" if kind is CounterMetricFamily else ""
        family.add_sample(f"liif_{name}{suffix}", dict(labels), float(value))
    return family
