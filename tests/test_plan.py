"""What is refused before any work, because the result's name cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from liif_engine.errors import OutputError, OutputExistsError, UsageError
from liif_engine.file import restore_file
from liif_engine.picture.image_file import Limits
from liif_engine.plan import Plan, check_destination, plan
from liif_engine.target import Target
from liif_engine.workers.stand_in import Copying

from .conftest import picture


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    Image.fromarray(picture(9, 12)).save(tmp_path / "a.png")
    return plan(tmp_path / "a.png", Target(scale=2), out=tmp_path / "b.png")


def test_a_link_that_leads_nowhere_is_taken(planned: Plan) -> None:
    planned.destination.symlink_to("nowhere")
    with pytest.raises(OutputExistsError, match="already exists"):
        check_destination(planned, may_exist=False)
    check_destination(planned, may_exist=True)  # the link itself will be replaced


def test_a_scale_that_is_no_target_is_refused_in_words(planned: Plan) -> None:
    with pytest.raises(UsageError, match="such as Target"):
        plan(planned.source, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"engine": "web"}, "an engine is an Engine"),
        ({"engine": Copying}, "an engine is an Engine"),
        ({"source": None}, "a source is a path, not None"),
        ({"source": "a\0.png"}, "a source is a path"),
        ({"destination": b"b.png"}, "a destination is a path, not b'b.png'"),
        ({"destination": ""}, "a destination is a path, not ''"),
        ({"target": 2}, "a target is a Target"),
        ({"target": 0}, "a target is a Target"),
        ({"format": 5}, "a format is a suffix"),
        ({"quality": True}, "a quality is a whole number"),
        ({"overwrite": "no"}, "overwrite is True or False, not 'no'"),
        ({"allow_truncated": None}, "allow_truncated is True or False"),
        ({"resume": 0.0}, "resume is True or False"),
        ({"consistent": "no"}, "consistent is True or False"),
        ({"limits": {"max_pixels": 9}}, "limits are Limits"),
        ({"on_progress": "print"}, "'print' cannot be called"),
    ],
)
def test_arguments_that_are_something_else_are_refused_in_words(
    planned: Plan, tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    given = {"engine": Copying(), "source": planned.source, "destination": tmp_path / "b.png", **wrong}
    with pytest.raises(UsageError, match=said):
        restore_file(**given)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("limit", ["9", float("nan"), float("inf"), True, 0, -1, None])
def test_a_limit_that_is_no_number_from_1_on_is_refused_in_words(limit: Any) -> None:
    with pytest.raises(UsageError, match=f"max_pixels is a number of at least 1, not {limit!r}"):
        Limits(max_pixels=limit)


def test_a_limit_may_be_written_as_a_power_of_ten() -> None:
    assert Limits(max_metadata_bytes=1e6) == Limits(max_metadata_bytes=1_000_000)  # type: ignore[arg-type]


def test_a_folder_is_no_file_that_may_be_replaced(planned: Plan) -> None:
    planned.destination.mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        check_destination(planned, may_exist=True)


def test_sizes_in_memory_count_every_frame_and_sample(tmp_path: Path) -> None:
    frames = [Image.fromarray(picture(9, 12, seed=seed)) for seed in (1, 2, 3)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    found = plan(tmp_path / "a.webp", Target(scale=2), out=tmp_path / "b.png")
    assert (found.source_bytes, found.result_bytes) == (9 * 12 * 3 * 3, 18 * 24 * 3 * 3)
    still = plan(tmp_path / "a.webp", Target(scale=4), out=tmp_path / "b.webp")
    assert still.writing_bytes > found.writing_bytes > 0


@pytest.mark.parametrize("format", ["png", ".png", "PNG", ".Png"])
def test_a_format_may_have_the_point_of_a_suffix(tmp_path: Path, format: str) -> None:
    Image.fromarray(picture(9, 12)).save(tmp_path / "a.jpg")
    found = plan(tmp_path / "a.jpg", Target(scale=2), format=format)
    assert (found.destination.name, found.format) == ("a@2x.png", "PNG")
