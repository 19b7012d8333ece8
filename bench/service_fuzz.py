"""Sends 10,000 requests of every kind to a service, and says what it answered and what it took.

``python bench/service_fuzz.py [--requests 10000]``; needs the test extra and a checkout, whose tests hold the requests.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).parents[1]))
fuzz: Any = importlib.import_module("tests.service.fuzz")
Service: Any = importlib.import_module("tests.service.conftest").Service

#: The first requests load modules and fill caches, which is no leak.
WARM_UP = 1000


def main(number: int) -> None:
    """Prints the answers by status, and memory, files and segments before and after."""
    folder = fuzz.new_folder()
    service = Service(folder, fuzz.SETTINGS)
    statuses: Counter[int] = Counter()
    started = time.monotonic()

    def bombard(count: int) -> None:
        @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(request=fuzz.REQUESTS)
        def each(request: bytes) -> None:
            status, answer = fuzz.send(service, request)
            statuses[status] += 1
            assert status < 500, answer
            assert status or not request.partition(b"\r\n")[0].endswith(b" HTTP/1.1"), "it hung up without a word"

        each()
        time.sleep(3)  # longer than anything is kept

    try:
        bombard(min(WARM_UP, number))
        before = vars(fuzz.Footprint(service))
        bombard(max(number - WARM_UP, 1))
        after = vars(fuzz.Footprint(service))
        print(f"{sum(statuses.values())} requests in {time.monotonic() - started:.0f} s")
        print("answers by status (0: hung up without one):", dict(sorted(statuses.items())))
        for name, value in before.items():
            print(f"{name}: {value} -> {after[name]}")
        pixels = bytes(range(105))
        assert service.client.restore_pixels(pixels, (5, 7, 3), "u8", scale=1)[0] == pixels
        print("a job is still done rightly")
    finally:
        code, said = service.end()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"ended with code {code}, tracebacks in its log: {said.count('Traceback')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    main(parser.parse_args().requests)
