"""The plug-in's result is the engine's on the same pixels, in every precision and kind of layer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from liif_engine import Engine

from ..conftest import picture
from ..service.conftest import Service
from .conftest import RealGimp

pytestmark = pytest.mark.usefixtures("engine")

SIZE = 41, 30

#: Name: (base, alpha, precision, format in which GIMP is asked for the pixels, profile, dtype, tolerance in steps).
KINDS = {
    "rgb": ("RGB", False, "U8_NON_LINEAR", "R'G'B' u8", None, "uint8", 0),
    "alpha": ("RGB", True, "U8_NON_LINEAR", "R'G'B'A u8", None, "uint8", 0),
    "gray": ("GRAY", False, "U8_NON_LINEAR", "Y' u8", None, "uint8", 0),
    "gray and alpha": ("GRAY", True, "U8_NON_LINEAR", "Y'A u8", None, "uint8", 0),
    "perceptual": ("RGB", False, "U8_PERCEPTUAL", "R~G~B~ u8", None, "uint8", 0),
    "16-bit": ("RGB", False, "U16_NON_LINEAR", "R'G'B' u16", None, "uint16", 1),
    "16-bit alpha": ("RGB", True, "U16_NON_LINEAR", "R'G'B'A u16", None, "uint16", 1),
    "adobe": ("RGB", False, "U8_NON_LINEAR", "R'G'B' u8", "adobe", "uint8", 0),
    "adobe 16-bit": ("RGB", False, "U16_NON_LINEAR", "R'G'B' u16", "adobe", "uint16", 1),
    "32-bit float": ("RGB", False, "FLOAT_NON_LINEAR", "R'G'B' float", None, "float32", 2e-6),
    "linear float": ("RGB", True, "FLOAT_LINEAR", "R'G'B'A float", None, "float32", 1e-5),
    "gray linear float": ("GRAY", False, "FLOAT_LINEAR", "Y' float", None, "float32", 1e-5),
}

CODE = """
image = new_image(*{size}, {base!r}, {precision!r})
if {profile!r} == "adobe":
    image.set_color_profile(Gimp.ColorProfile.new_rgb_adobe())
layer = add_layer(image, alpha={alpha}, data=open(path("in"), "rb").read(), format={name})
name = {name} if {profile!r} is None else Babl.get_name(Babl.format_with_space({name}, layer.get_format()))
sent = pixels(layer, name)
before = image.get_effective_color_profile().get_label()
result = call(image, scale={scale}, model=path("tiny.safetensors"))
assert result["status"] == "success", result
open(path("sent"), "wb").write(sent)
open(path("out"), "wb").write(pixels(layer, name))
answer = [size(image), size(layer), before == image.get_effective_color_profile().get_label()]
"""


@pytest.fixture(scope="module")
def wanted(model: Path) -> Engine:
    return Engine(model, device="cpu")


def test_a_real_gimp_3_runs_the_procedure(gimp: RealGimp, engine: Service) -> None:
    code = "from gi.repository import Gimp\nanswer = [Gimp.MAJOR_VERSION, Gimp.get_pdb().procedure_exists(%r)]"
    assert gimp.do(code % "plug-in-liif-restore") == [3, True]
    assert engine.client.status()["api"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_pixels_equal_those_of_the_engine(gimp: RealGimp, wanted: Engine, kind: str) -> None:
    base, alpha, *_, dtype, tolerance = KINDS[kind]
    channels = (3 if base == "RGB" else 1) + alpha
    sent, got = _through(gimp, picture(SIZE[1], SIZE[0], channels, dtype=dtype), CODE, 2.3, *KINDS[kind][:5])
    expected = wanted.restore(sent, scale=2.3)
    assert got.shape == expected.shape
    if dtype == "float32" and alpha:
        got, expected = got[..., :3], expected[..., :3]  # straight colours through GIMP's linear light and back
    difference = np.abs(got.astype(np.float64) - expected.astype(np.float64)).max()
    assert difference <= tolerance
    assert got.std() > 0


def test_the_pixels_equal_those_of_liif_restore(gimp: RealGimp, model: Path, tmp_path: Path) -> None:
    """The same pixels in PNG files through the command line: 8 bits exactly, 16 within a step; files have no float."""
    kinds = [kind for kind, (*_, dtype, _) in KINDS.items() if dtype != "float32" and kind != "perceptual"]
    sources, results = [], {}
    for number, kind in enumerate(kinds):
        base, alpha, *_, dtype, _ = KINDS[kind]
        drawn = picture(SIZE[1], SIZE[0], (3 if base == "RGB" else 1) + alpha, seed=number, dtype=dtype)
        sent, results[kind] = _through(gimp, drawn, CODE, 2.3, *KINDS[kind][:5])
        sources.append(tmp_path / f"{kind}.png")
        sources[-1].write_bytes(imagecodecs.png_encode(sent))
    options = ["--scale", "2.3", "--model", str(model), "--device", "cpu", "--out", str(tmp_path / "done")]
    command = [sys.executable, "-m", "liif_engine", "restore", *map(str, sources), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    for kind, got in results.items():
        (file,) = (tmp_path / "done").glob(f"{kind}@*.png")
        expected = imagecodecs.png_decode(file.read_bytes()).reshape(got.shape)
        assert expected.dtype == got.dtype
        assert np.abs(got.astype(int) - expected.astype(int)).max() <= KINDS[kind][-1], kind


def test_sixteen_bits_are_more_than_eight(gimp: RealGimp) -> None:
    """A soft gradient keeps more values than 8 bits have."""
    rows = np.linspace(20000, 24000, SIZE[0]).astype(np.uint16)
    source = np.broadcast_to(rows[None, :, None], (SIZE[1], SIZE[0], 3)).copy()
    _, got = _through(gimp, source, CODE, 2.0, "RGB", False, "U16_NON_LINEAR", "R'G'B' u16", None)
    assert len(np.unique(got)) > 256


@pytest.mark.parametrize("precision", ["U8_LINEAR", "U16_LINEAR", "U32_NON_LINEAR", "HALF_LINEAR", "DOUBLE_LINEAR"])
def test_other_precisions_are_read_and_written_too(gimp: RealGimp, wanted: Engine, precision: str) -> None:
    """As near as the precision itself allows: 8 linear bits are coarse in the dark."""
    sent, got = _through(
        gimp, picture(SIZE[1], SIZE[0], dtype="float32"), CODE, 2.0, "RGB", False, precision, "R'G'B' float", None
    )
    expected = wanted.restore(sent, scale=2.0)
    steps = {"U8_LINEAR": 0.05, "U16_LINEAR": 2e-4, "HALF_LINEAR": 2e-3}
    bright = expected > 0.2
    assert np.abs(got - expected)[bright].max() <= steps.get(precision, 1e-5)


def test_highlights_and_colours_beyond_the_gamut_are_not_clipped(gimp: RealGimp) -> None:
    source = picture(SIZE[1], SIZE[0], dtype="float32") * 3 - 0.5
    _, got = _through(gimp, source, CODE, 1.5, "RGB", False, "FLOAT_NON_LINEAR", "R'G'B' float", None)
    assert got.max() > 1.2
    assert got.min() < 0


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_values_that_are_no_numbers_are_refused_with_what_to_do(gimp: RealGimp, value: str) -> None:
    code = f"""
import array
image = new_image(6, 5, precision="FLOAT_NON_LINEAR")
values = array.array("f", [0.5] * 90)
values[31] = float({value!r})
add_layer(image, "fine", data=array.array("f", [0.5] * 90).tobytes(), format="R'G'B' float")
layer = add_layer(image, "sky", data=values.tobytes(), format="R'G'B' float")
answer = call(image)
answer["merged"] = call(image, layers="merged")["error"]
answer["same"] = pixels(layer, "R'G'B' float") == values.tobytes()
"""
    answer = gimp.do(code)
    assert (answer["status"], answer["same"]) == ("execution-error", True)
    assert "“sky” holds infinite values or ones that are no numbers" in answer["error"]
    assert "What is visible holds infinite values" in answer["merged"]
    assert "choose an integer in Image > Precision" in answer["error"]
    assert "where they are but infinite, Colors > RGB Clip" in answer["error"]


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_what_is_said_to_do_about_them_helps(gimp: RealGimp, value: str) -> None:
    """GIMP's RGB Clip lets pass what is no number."""
    code = f"""
import array
values = array.array("f", [0.5] * 90)
values[31] = float({value!r})
answer = []
for how in ("integer", "clip"):
    image = new_image(6, 5, precision="FLOAT_NON_LINEAR")
    layer = add_layer(image, data=values.tobytes(), format="R'G'B' float")
    if how == "integer":
        image.convert_precision(Gimp.Precision.U16_NON_LINEAR)
    else:
        layer.merge_filter(Gimp.DrawableFilter.new(layer, "gegl:rgb-clip", ""))
    answer.append(call(image, model="copy")["status"])
"""
    assert gimp.do(code) == ["success", "execution-error" if value == "nan" else "success"]


RANGE = """
sys.path.insert(0, path("profile/plug-ins/liif_restore"))
import array, types
from layer_pixels import Range
given = array.array("f", {values})
found = Range(given.tobytes(), types.SimpleNamespace(channels=1, has_alpha=False, pixel_bytes=4), "", lambda: None)
narrow = array.array("f", found.narrow(given.tobytes(), lambda: None))
answer = [list(narrow), list(array.array("f", found.widen(narrow.tobytes(), lambda: None)))]
"""


@pytest.mark.parametrize("beyond", [[1.2], [100.0], [3e38], [-0.3], [-3e38, 3e38], [-0.2, 0.0, 1.0, 4.0]])
def test_highlights_leave_the_rest_its_contrast(gimp: RealGimp, beyond: list[float]) -> None:
    """The network would take a picture of next to no contrast for noise, whose range one pixel has set."""
    values = [0.0, 0.25, 1.0, *beyond]
    narrow, back = gimp.do(f"import sys\n{RANGE.format(values=values)}")
    assert narrow[2] - narrow[0] >= 0.5
    assert narrow[1] - narrow[0] == pytest.approx((narrow[2] - narrow[0]) / 4)
    assert min(narrow) >= 0
    assert max(narrow) <= 1
    assert sorted(narrow) == [one for _, one in sorted(zip(values, narrow, strict=True))]
    assert back == pytest.approx(values, rel=1e-4, abs=1e-6)


def _through(
    gimp: RealGimp,
    source: NDArray[np.generic],
    code: str,
    scale: float,
    base: str,
    alpha: bool,
    precision: str,
    name: str,
    profile: str | None,
) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """What GIMP holds before and after."""
    height, width, channels = source.shape
    (gimp.home / "in").write_bytes(source.tobytes())
    given = {"size": (width, height), "base": base, "precision": precision, "profile": profile, "alpha": alpha}
    image, layer, same_profile = gimp.do(code.format(name=repr(name), scale=scale, **given))
    assert image == layer
    assert same_profile
    sent = np.frombuffer((gimp.home / "sent").read_bytes(), source.dtype).reshape(source.shape)
    got = np.frombuffer((gimp.home / "out").read_bytes(), source.dtype).reshape(image[1], image[0], channels)
    return sent, got
