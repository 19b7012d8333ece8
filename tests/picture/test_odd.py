"""1,122 awkward, rare and broken files: each comes back with everything it carried, or is refused in words.

Every file goes the whole way of `file.restore_file` twice: with a stand-in that repeats pixels, so that what arrives
can be compared to the value; and, where the result has at most `NETWORK_PIXELS` pixels, with a tiny random network. The
network's answer for larger pictures would cost minutes and say nothing more about files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from liif_engine import Engine, file
from liif_engine.errors import LiifError
from liif_engine.picture import image_file
from liif_engine.picture.image_file import Limits
from liif_engine.target import Target
from liif_engine.workers.stand_in import Copying
from tests.conftest import tiny_network

from .losses import differs_from_pillow, losses

NETWORK_PIXELS = 20_000
#: Room for the largest honest file of the collection (11 megapixels), so that lying headers cost nothing.
LIMITS = Limits(max_pixels=20_000_000)

FOLDER = Path(os.environ["LIIF_DATA"]) / "odd" if "LIIF_DATA" in os.environ else None
FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file()) if FOLDER and FOLDER.is_dir() else []
needs_files = pytest.mark.skipif(not FILES, reason="set LIIF_DATA to a folder that holds odd/ to run this")


@pytest.fixture(scope="module")
def network() -> Engine:
    return Engine(tiny_network(), device="cpu", precision="fp32")


@needs_files
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_all_is_kept_or_the_file_is_refused(path: Path, tmp_path: Path, network: Engine) -> None:
    result = tmp_path / f"result{path.suffix}"
    refusal: LiifError | None = None
    try:
        file.restore_file(cast(Any, Copying()), path, result, target=Target(scale=2), limits=LIMITS)
    except LiifError as error:
        refusal = error
    if refusal is not None:
        assert type(refusal) is not LiifError  # a fault in this program, in words
        assert refusal.path == path
        assert refusal.message
        assert refusal.remedy
        assert list(tmp_path.iterdir()) == []
        return
    assert losses(path, result) == []
    probe = image_file.probe(path, limits=LIMITS)
    if 4 * probe.width * probe.height * probe.frames <= NETWORK_PIXELS:
        outcome = file.restore_file(network, path, tmp_path / f"network{path.suffix}", target=Target(scale=2))
        again = image_file.read(outcome.plan.destination)
        assert (again.width, again.height) == (2 * probe.width, 2 * probe.height)


#: Where the two differ and this package is right, or both are.
NOT_PILLOWS = {
    "1_trns.png": "Pillow compares the transparent gray of few bits without scaling it",
    "tbbn0g04.png": "Pillow compares the transparent gray of few bits without scaling it",
    "test-images_bmp_images_V3_A1_R5_G5_B5.bmp": "Pillow does not see 1-bit alpha",
    "test-images_bmp_images_V3_A1_R5_G5_B5_Top_Down.bmp": "Pillow does not see 1-bit alpha",
    "rgb32bf-abgr.bmp": "alpha that is 0 everywhere means none, as in every viewer",
    "bmp_b_badrle.bmp": "damaged run lengths, which every program draws in its own way",
    "tiff_strip_ycbcr_jpeg_2x2_sampling.tif": "two ways of scaling colour up, 4 of 255 apart",
}


@needs_files
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_colours_are_the_ones_that_pillow_sees(path: Path) -> None:
    try:
        image_file.read(path, limits=LIMITS)
    except LiifError:
        pytest.skip("refused")
    if path.name in NOT_PILLOWS:
        pytest.skip(NOT_PILLOWS[path.name])
    assert differs_from_pillow(path) is None
