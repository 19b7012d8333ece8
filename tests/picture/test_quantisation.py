"""The quality that a file's own headers speak of."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from liif_engine.picture import quantisation
from tests.picture.photograph import jpeg, photograph

PHOTO = photograph(48, 64)


def webp(**options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photograph(160, 200)).save(file, "WEBP", **options)
    return file.getvalue()


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_every_libjpeg_quality_is_recovered_exactly(subsampling: str) -> None:
    for quality in range(5, 96):
        read = quantisation.read(jpeg(PHOTO, quality, subsampling=subsampling))
        assert read == quantisation.FileQuality("jpeg", quality, True, subsampling)


@pytest.mark.parametrize("options", [{"progressive": True}, {"exif": b"Exif\0\0" + bytes(60_000)}, {"comment": "\xff"}])
def test_other_segments_do_not_matter(options: dict[str, Any]) -> None:
    read = quantisation.read(jpeg(PHOTO, 37, **options))
    assert read is not None
    assert (read.quality, read.exact) == (37, True)


def test_a_gray_jpeg_has_one_table() -> None:
    assert quantisation.read(jpeg(PHOTO[..., 0], 60)) == quantisation.FileQuality("jpeg", 60, True, "gray")


def test_other_tables_get_the_nearest_quality() -> None:
    coarse, fine = (quantisation.read(jpeg(PHOTO, name)) for name in ("web_low", "web_very_high"))
    assert coarse is not None
    assert fine is not None
    assert not coarse.exact
    assert coarse.quality + 20 < fine.quality
    luma, chroma = (
        quantisation.scaled_table(base, 50) for base in (quantisation.LUMA_TABLE, quantisation.CHROMA_TABLE)
    )
    luma = luma.copy()
    luma[7, 7] += 1
    assert quantisation.quality_of_tables(luma, chroma) == (50, False)


@pytest.mark.parametrize("quality", [10, 30, 50, 70, 90])
def test_a_lossy_webp_tells_its_quality_roughly(quality: int) -> None:
    read = quantisation.read(webp(quality=quality))
    assert read is not None
    assert read.codec == "webp"
    assert abs(read.quality - quality) <= 10


def test_webp_with_alpha_and_animated_webp_are_read() -> None:
    opacity = np.arange(160 * 200).reshape(160, 200, 1) % 251
    frame = Image.fromarray(np.concatenate([photograph(160, 200), opacity], axis=-1).astype(np.uint8))
    for options in ({}, {"save_all": True, "append_images": [frame.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]}):
        file = io.BytesIO()
        frame.save(file, "WEBP", quality=40, **options)
        read = quantisation.read(file.getvalue())
        assert read is not None
        assert abs(read.quality - 40) <= 10


@pytest.mark.parametrize(
    ("format", "options", "said"),
    [
        ("AVIF", {"quality": 80}, "AVIF"),
        ("AVIF", {"quality": 80, "subsampling": "4:2:2"}, "AVIF"),
        ("AVIF", {"quality": 80, "subsampling": "4:4:4"}, None),
        ("AVIF", {"quality": 80, "subsampling": "4:0:0"}, None),
        ("JPEG", {"quality": 80}, None),
        ("PNG", {}, None),
    ],
)
def test_colours_with_less_detail_than_luma(format: str, options: dict[str, Any], said: str | None) -> None:
    file = io.BytesIO()
    Image.fromarray(PHOTO[:48, :48]).save(file, format, **options)
    assert quantisation.halved_chroma(file.getvalue()) == said
    assert quantisation.halved_chroma(file.getvalue()[:200]) is None, "cut off, it says nothing and is no error"


@pytest.mark.parametrize(("chroma", "said"), [(420, "HEIC"), (422, "HEIC"), (444, None)])
def test_colours_of_heic(chroma: int, said: str | None) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra: pip install 'liif-restore[heic]'")
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(PHOTO)).save(file, quality=80, chroma=chroma)
    assert quantisation.halved_chroma(file.getvalue()) == said


def test_lossless_files_say_nothing(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    Image.fromarray(PHOTO).save(picture)
    assert quantisation.read(picture) is None
    assert quantisation.read(webp(lossless=True)) is None


def test_broken_files_say_nothing_and_raise_nothing(tmp_path: Path) -> None:
    assert quantisation.read(tmp_path / "missing.jpg") is None
    assert quantisation.read(tmp_path) is None
    random = np.random.default_rng(0)
    for whole in (jpeg(PHOTO, 50), webp(quality=50)):
        for length in range(0, 700, 7):
            cut = quantisation.read(whole[:length])
            assert cut is None or cut.quality > 0
            noisy = bytearray(whole[:700])
            for place in random.integers(2, 700, 20):
                noisy[place] = random.integers(256)
            quantisation.read(bytes(noisy))


def test_a_path_and_its_bytes_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(jpeg(PHOTO, 42))
    assert quantisation.read(path) == quantisation.read(str(path)) == quantisation.read(path.read_bytes()) is not None
