"""Helper threads of a program of ours sleep early, unless its user has said otherwise."""

from __future__ import annotations

import os

import pytest

from liif_engine import threads


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, str(threads.LOOKS)),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
    ],
)
def test_what_the_user_set_stays(before: dict[str, str], after: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = dict(before)
    monkeypatch.setattr(os, "environ", environment)
    threads.sleep_soon()
    assert environment.get("GOMP_SPINCOUNT") == after
