"""What `liif explain` says of a picture: facts, places, kinds of pictures, earlier generations, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liif_engine import Engine
from liif_engine.errors import InputError, LiifError, UnsupportedError, UsageError
from liif_engine.lab import patch, subject
from liif_engine.lab.blocks import displayed_phase, spread
from liif_engine.lab.explain import Explanation, explain
from liif_engine.lab.report import asked
from liif_engine.network import checkpoint
from liif_engine.picture.consistency import agreement
from liif_engine.picture.tiles import Rect

from ..conftest import tiny_network
from ..picture.photograph import photograph
from .explaining import engine

__all__ = ["engine"]  # a fixture


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explain") / "old.jpg"
    Image.fromarray(photograph(72, 96)).save(path, quality=25)
    return path


@pytest.fixture(scope="module")
def story(engine: Engine, jpeg: Path) -> Explanation:
    return explain(jpeg, engine=engine)


def test_the_facts_are_plain_json_with_the_promised_keys(story: Explanation) -> None:
    facts = json.loads(json.dumps(story.as_dict(), allow_nan=False))
    assert facts["attribution"]["completeness_error"] <= 0.05
    assert 0 <= facts["attribution"]["diffusion_index"] <= 100
    assert facts["consistency"]["basis"] == "file"
    assert 0.999 <= facts["consistency"]["input"] <= 1
    assert 0 < facts["consistency"]["result"] < facts["consistency"]["input"]  # a random network knows no file
    assert facts["quality_estimate"] == 25
    assert facts["grid_phase"] == [0, 0]
    assert facts["generations"] == ["JPEG of quality 25, 4:2:0: the file itself"]
    assert sum(facts["attribution"]["rings"].values()) == pytest.approx(1, abs=0.01)
    assert facts["damage"]["frequencies_kept"] < 0.5


def test_the_rings_end_where_the_network_s_sight_does(story: Explanation, jpeg: Path) -> None:
    assert story.field.model.halo == 8
    assert list(story.as_dict()["attribution"]["rings"]) == ["0-0", "1-8"]
    far = explain(jpeg, engine=Engine(tiny_network(blocks=13), device="cpu", precision="fp32"))
    assert list(far.as_dict()["attribution"]["rings"]) == ["0-0", "1-8", "9-16", "17-24", "25-30"]


@pytest.mark.parametrize("size", [(8, 8), (9, 40)])
def test_chroma_without_a_whole_block_has_no_share_inside(
    engine: Engine, tmp_path: Path, size: tuple[int, int]
) -> None:
    Image.fromarray(photograph(*size)).save(tmp_path / "small.jpg", quality=25)
    facts = explain(tmp_path / "small.jpg", engine=engine).as_dict()
    assert json.dumps(facts, allow_nan=False)
    assert 0 < facts["consistency"]["components"][0] <= 1
    assert facts["consistency"]["components"][1:] == [None, None]


def test_the_patch_lies_where_it_was_asked_for(engine: Engine, jpeg: Path) -> None:
    assert explain(jpeg, engine=engine, at=(40, 32, 16, 24)).as_dict()["patch"] == [40, 32, 16, 24]
    x, y, width, height = explain(jpeg, engine=engine, at=(20, 10, 60, 50)).as_dict()["patch"]
    assert (width, height) == (16, 16)
    assert x % 8 == y % 8 == 0
    assert 20 <= x <= 80 - 16
    assert 10 <= y <= 60 - 16
    # A place at the border is cut, one too small is grown.
    assert explain(jpeg, engine=engine, at=(90, -5, 50, 9)).as_dict()["patch"] == [88, 0, 8, 8]


@pytest.mark.parametrize(
    ("at", "scale", "words"),
    [
        ((96, 0, 8, 8), 2, "nothing of 96,0,8,8 lies in the picture, which is 96x72"),
        ("x", 2, r"a place is \(x, y, width, height\) in whole pixels, not 'x'"),
        ((1, 2, 3), 2, "a place is"),
        ((1, 2.5, 8, 8), 2, "a place is"),
        (None, 0.5, "scale must be"),
        (None, 16.5, "too large to explain"),
    ],
)
def test_places_and_scales_that_make_no_sense_are_refused(
    engine: Engine, jpeg: Path, at: tuple[int, int, int, int] | None, scale: float, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        explain(jpeg, engine=engine, at=at, scale=scale)
    assert refused.value.path == jpeg


@pytest.mark.parametrize("scale", [1, 2, 4, 7.3, 16])
def test_a_patch_has_no_more_answers_at_a_large_scale(jpeg: Path, scale: float) -> None:
    """What is kept for each of them would fill the memory."""
    found = subject.read(jpeg, scale=scale)
    largest = patch.largest_side(scale)
    assert largest**2 * scale**2 <= patch.MOST_ANSWERS
    for region in (None, Rect(8, 40, 8, 40)):
        place = patch.choose(found, found.pixels, None, region, largest=largest)
        assert 8 <= max(place.height, place.width) <= largest


def test_pictures_that_cannot_be_explained_are_refused_in_words(engine: Engine, tmp_path: Path) -> None:
    Image.fromarray(photograph(40, 40)).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(photograph(7, 40)).save(tmp_path / "tiny.png")
    (tmp_path / "words.jpg").write_text("no picture")
    cases: dict[str, tuple[type[LiifError], str]] = {
        "cmyk.jpg": (UnsupportedError, "CMYK"),
        "tiny.png": (InputError, "40x7 pixels, too few"),
        "words.jpg": (InputError, "words"),
        "missing.jpg": (InputError, "no such file"),
    }
    for name, (kind, words) in cases.items():
        with pytest.raises(kind, match=words) as refused:
            explain(tmp_path / name, engine=engine)
        assert refused.value.path == tmp_path / name
        assert refused.value.remedy


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "I;16", "smallest", "turned"])
def test_pictures_of_every_kind_are_explained(engine: Engine, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "picture.png"
    image = Image.fromarray(photograph(40, 48))
    if mode == "smallest":
        image.crop((0, 0, 8, 8)).save(path)
    elif mode == "I;16":
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path)
    elif mode == "turned":
        path = path.with_suffix(".jpg")
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, quality=40, exif=exif)
    else:
        image.convert(mode).save(path)
    told = explain(path, engine=engine)
    facts = told.as_dict()
    assert "</html>" in told.html()
    if mode == "turned":
        assert (facts["file"]["width"], facts["file"]["height"]) == (40, 48)
        assert facts["consistency"]["input"] >= 0.999
    else:
        assert facts["consistency"]["basis"] is None
        assert facts["consistency"]["result"] is None
    assert bool(facts["notes"]) == (mode in {"LA", "RGBA", "I;16"})


def test_the_page_claims_no_more_than_is_known(engine: Engine, tmp_path: Path) -> None:
    """Of a network of 2 blocks and 8 channels, and of pictures without a grid, without colour, and at scale 1."""
    Image.fromarray(photograph(40, 48)).save(tmp_path / "clean.png")
    Image.fromarray(photograph(40, 48)).convert("L").save(tmp_path / "gray.jpg", quality=40)
    clean = explain(tmp_path / "clean.png", engine=engine).html()
    assert "each pixel into 8 numbers" in clean
    assert "16 blocks" not in clean
    assert "Everything beyond the patch<" in clean
    assert "A JPEG block is" not in clean
    assert "How many patterns each block kept" not in clean
    gray = explain(tmp_path / "gray.jpg", engine=engine, scale=1).html()
    assert "no colour (gray)" in gray
    assert "grey levels on average, against the file." in gray
    assert "is certain" in gray
    with Image.open(tmp_path / "gray.jpg") as image:
        image.save(tmp_path / "once.png")
    once = explain(tmp_path / "once.png", engine=engine)
    assert once.as_dict()["consistency"]["basis"] == "pixels"
    assert "is as sure as the steps that its pixels tell of" in once.html()


@pytest.mark.parametrize(
    ("model", "scale", "work", "limit"),
    [
        ("web", 1, "artifact removal", ""),
        ("fast", 2, "artifact removal and enlargement \N{MULTIPLICATION SIGN}2", ""),
        ("published", 2, "enlargement \N{MULTIPLICATION SIGN}2", "removes no artifacts"),
        ("published", 1, "the same size", "removes no artifacts"),
        ("web+", 1, "artifact removal", ""),
        ("my-own", 1, "restoration", ""),
    ],
)
def test_the_page_says_of_a_model_only_what_it_is_made_for(model: str, scale: float, work: str, limit: str) -> None:
    said = asked(model, scale)
    assert said["work"] == work
    assert said["limit"].endswith(limit)
    assert bool(said["limit"]) == bool(limit)


def test_a_png_that_once_was_a_jpeg_is_found_out(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "once.jpg"
    Image.fromarray(photograph(168, 176)).save(file, quality=40)
    with Image.open(file) as image:
        image.crop((3, 5, 170, 165)).save(tmp_path / "once.png")
    facts = explain(tmp_path / "once.png", engine=engine).as_dict()
    assert facts["grid_phase"] == [3, 5]
    assert abs(facts["quality_estimate"] - 40) <= 2
    assert facts["consistency"]["basis"] == "pixels"
    assert "cropped" in facts["generations"][0]
    assert facts["quality"]["file"] is None


def test_an_earlier_generation_is_found_by_its_grid(engine: Engine, tmp_path: Path) -> None:
    Image.fromarray(photograph(200, 200)).save(tmp_path / "first.jpg", quality=15)
    with Image.open(tmp_path / "first.jpg") as image:
        image.crop((4, 4, 196, 196)).save(tmp_path / "second.jpg", quality=95)
    facts = explain(tmp_path / "second.jpg", engine=engine).as_dict()
    assert facts["grid_phase"] == [4, 4]
    assert len(facts["generations"]) == 2
    assert "starts at column 4, row 4" in facts["generations"][1]
    assert facts["consistency"]["earlier_generations"]


def test_of_a_large_picture_a_window_is_looked_at(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "WINDOW_PIXELS", 128 * 128)
    path = tmp_path / "large.jpg"
    flat = np.full((256, 320, 3), 90, np.uint8)
    flat[160:224, 200:290] = photograph(64, 90)
    Image.fromarray(flat).save(path, quality=30)
    told = explain(path, engine=engine)
    facts = told.as_dict()
    x, y, width, height = facts["window"]
    assert width * height <= 128 * 128
    assert x % 16 == y % 16 == 0
    assert 200 - 16 <= facts["patch"][0] <= 290  # where there is something to lose
    assert 160 - 16 <= facts["patch"][1] <= 224
    assert facts["consistency"]["input"] >= 0.999
    assert "window" in facts["notes"][0]
    assert explain(path, engine=engine, at=(8, 8, 16, 16)).as_dict()["patch"] == [8, 8, 16, 16]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_window_of_a_turned_picture_has_its_coefficients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orientation: int
) -> None:
    monkeypatch.setattr(subject, "WINDOW_PIXELS", 128 * 128)
    flat = np.full((250, 322, 3), 90, np.uint8)
    flat[160:250, 232:322] = photograph(90, 90)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    Image.fromarray(flat).save(path, quality=30, exif=exif)
    found = subject.read(path, scale=1)
    assert found.pixels.shape[:2] == (found.window.height, found.window.width)
    assert found.window.area < (128 + 16) ** 2
    assert found.pixels.std() > 10, "it lies where there is something to lose"
    assert found.stored is not None
    assert len(found.stored.components) == 3
    assert agreement(found.stored, found.pixels).share >= 0.999
    ids = np.arange(found.stored.luma.levels[..., 0, 0].size, dtype=np.float32)
    blocks = spread(ids.reshape(found.stored.luma.levels.shape[:2]), found)
    for axis, first in enumerate(displayed_phase(found) or ()):
        starts = np.diff(blocks, axis=axis).any(axis=1 - axis).nonzero()[0] + 1
        assert set(starts % 8) == {first}
    corner = Rect(0, 16, found.width - 16, found.width)
    window = subject.read(path, scale=1, region=corner).window
    assert (window.top, window.right) == (0, found.width)


def test_a_consistent_result_keeps_to_the_file(engine: Engine, jpeg: Path, tmp_path: Path) -> None:
    free = explain(jpeg, engine=engine, scale=1).as_dict()["consistency"]["result"]
    kept = explain(jpeg, engine=engine, scale=1, consistent=True).as_dict()
    assert kept["consistent"]
    assert kept["consistency"]["result"] > max(free, 0.98)
    assert any("before that" in note for note in kept["notes"]), "the clues are those of the answer that was not moved"
    with pytest.raises(UsageError, match="scale 1"):
        explain(jpeg, engine=engine, scale=2, consistent=True)
    Image.fromarray(photograph(40, 40)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="no JPEG"):
        explain(tmp_path / "a.png", engine=engine, scale=1, consistent=True)


def test_of_a_self_ensemble_it_is_said_what_is_shown_and_what_is_explained(
    jpeg: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "small.safetensors"
    checkpoint.save(tiny_network(), file, {})
    told = explain(jpeg, engine=f"{file}+", at=(40, 32, 8, 8))
    facts = told.as_dict()
    assert facts["model"]["name"] == "small+"
    assert facts["model"]["explained"] == "small"
    assert any("the mean of eight answers of small" in note for note in facts["notes"])
    assert "explained by small alone" in caplog.text, "on the terminal too"
    page = told.html()
    assert "the mean of eight answers of small" in page
    assert "with <code>small</code> alone" in page
    whole = Engine(f"{file}+", device="cpu").restore(told.subject.pixels, scale=2)
    assert (told.result == whole).all(), "what is shown is what the model makes"


def test_how_far_the_network_could_have_looked_does_not_depend_on_where_the_patch_lies(
    engine: Engine, jpeg: Path
) -> None:
    """At the border the window is cut on one side, and the network looks as far on the other."""
    halo = engine.network.halo
    for at in ((40, 32, 16, 16), (0, 0, 8, 8), (88, 0, 8, 8)):
        assert explain(jpeg, engine=engine, at=at).as_dict()["attribution"]["sight"] == halo


def test_progress_only_grows_and_names_each_step(engine: Engine, jpeg: Path) -> None:
    seen: list[tuple[float, str]] = []
    explain(jpeg, engine=engine, on_progress=lambda share, step: seen.append((share, step)))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert seen[-1] == (1.0, "Done")
    assert len({step for _, step in seen}) == 7
