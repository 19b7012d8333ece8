"""How long frames are shown, when a format counts otherwise than the source did."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from liif_engine.picture import image_file
from liif_engine.picture.image_file.timing import as_small_fraction, in_ticks

from . import made


def film(path: Path, durations: list[int]) -> None:
    """A WebP animation of frames that differ; milliseconds."""
    pixels = made.gradient(20, 30)
    frames = [Image.fromarray(np.roll(pixels, step, axis=1)) for step in range(len(durations))]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, lossless=True)


def told(path: Path) -> list[int]:
    """Milliseconds that Pillow finds."""
    with Image.open(path) as image:
        found = []
        for frame in range(image.n_frames):
            image.seek(frame)
            image.load()
            found.append(int(image.info["duration"]))
        return found


def test_a_film_of_33_milliseconds_a_frame_keeps_its_length_as_gif(tmp_path: Path) -> None:
    film(tmp_path / "film.webp", [33] * 20)
    made.restored(tmp_path / "film.webp", tmp_path / "film.gif", format="GIF")
    durations = told(tmp_path / "film.gif")
    assert set(durations) == {30, 40}
    assert sum(durations) == 660


def test_a_frame_that_stays_longer_than_a_png_can_count_milliseconds(tmp_path: Path) -> None:
    film(tmp_path / "film.webp", [70_001, 33])
    made.restored(tmp_path / "film.webp", tmp_path / "film.png", format="PNG")
    assert told(tmp_path / "film.png") == pytest.approx([70_001, 33], abs=1)
    assert [Fraction(*frame.duration) for frame in image_file.read(tmp_path / "film.png").frames][1] == Fraction(
        33, 1000
    )


@given(st.lists(st.integers(0, 500), min_size=1, max_size=50))
def test_what_can_be_said_exactly_is(durations: list[int]) -> None:
    assert in_ticks(((duration, 100) for duration in durations), per_second=100, most=1000) == durations
    assert in_ticks(((10 * duration, 1000) for duration in durations), per_second=100, most=1000) == durations


@given(st.lists(st.tuples(st.integers(20, 3000), st.just(1000)), min_size=1, max_size=50))
def test_no_film_runs_more_than_half_a_unit_ahead_or_behind(durations: list[tuple[int, int]]) -> None:
    ticks = in_ticks(durations, per_second=100, most=1 << 16)
    for end in range(len(ticks) + 1):
        exact = sum(Fraction(*duration) for duration in durations[:end]) * 100
        assert abs(sum(ticks[:end]) - exact) <= Fraction(1, 2)


def test_sixty_frames_a_second_have_none_that_viewers_take_for_a_mistake() -> None:
    assert in_ticks([(17, 1000)] * 60 + [(1000, 1000)], per_second=100, most=1000) == [2] * 60 + [100]


@given(st.integers(0, 1 << 24), st.integers(0, 1 << 17))
def test_any_duration_fits_into_two_bytes_each(numerator: int, denominator: int) -> None:
    near = as_small_fraction((numerator, denominator), most=0xFFFF)
    assert 0 <= near[0] <= 0xFFFF
    assert 0 <= near[1] <= 0xFFFF
    if max(numerator, denominator) <= 0xFFFF:
        assert near == (numerator, denominator)
    else:
        exact = Fraction(numerator, denominator or 100)
        assert abs(Fraction(*near) - min(exact, 0xFFFF)) <= max(exact / 1000, Fraction(1, 1000))


def test_a_gif_that_waits_is_as_patient_as_webp(tmp_path: Path) -> None:
    pixels = made.gradient(20, 30, 1)[..., 0]
    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    data = io.BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:], duration=[650_000, 70])
    (tmp_path / "film.gif").write_bytes(data.getvalue())
    made.restored(tmp_path / "film.gif", tmp_path / "film.webp", format="WEBP")
    assert told(tmp_path / "film.webp") == [650_000, 70]
