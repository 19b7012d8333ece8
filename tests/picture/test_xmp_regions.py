"""Regions in XMP stay on what they mark: a bright box is marked in a dark picture, restored and looked for again."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from liif_engine.picture import image_file
from liif_engine.picture.image_file import xmp, xmp_regions

from . import made

#: Of the stored picture, and of the box in it: (x, y) of its upper left corner, (width, height); pixels.
SIZE, CORNER, SIDES = (80, 40), (8, 24), (20, 10)

MIDDLE = ((CORNER[0] + SIDES[0] / 2) / SIZE[0], (CORNER[1] + SIDES[1] / 2) / SIZE[1])
SHARES = (SIDES[0] / SIZE[0], SIDES[1] / SIZE[1])

NAMESPACES = (
    f'xmlns:rdf="{xmp.RDF}" xmlns:r="{xmp_regions.WORKING_GROUP}" xmlns:a="{xmp_regions.AREAS}"'
    f' xmlns:d="{xmp_regions.DIMENSIONS}" xmlns:e="{xmp_regions.EXIF}" xmlns:t="{xmp_regions.TIFF}"'
    f' xmlns:m="{xmp_regions.MICROSOFT}" xmlns:i="{xmp_regions.IPTC}"'
)


def packet(*parts: str) -> bytes:
    body = "".join(parts)
    return f'<rdf:RDF {NAMESPACES}><rdf:Description rdf:about="">{body}</rdf:Description></rdf:RDF>'.encode()


def size(width: int, height: int) -> str:
    return f'<r:AppliedToDimensions d:w="{width}" d:h="{height}" d:unit="pixel"/>'


def area(x: float, y: float, w: float, h: float, *, form: str = "attributes", unit: str = "normalized") -> str:
    values = {"x": x, "y": y, "w": w, "h": h, "unit": unit}
    attributes = " ".join(f"a:{name}='{value}'" for name, value in values.items())
    elements = "".join(f"<a:{name}> {value} </a:{name}>" for name, value in values.items())
    return {
        "attributes": f"<r:Area {attributes}/>",
        "elements": f'<r:Area rdf:parseType="Resource">{elements}</r:Area>',
        "description": f"<r:Area><rdf:Description {attributes}/></r:Area>",
    }[form]


def microsoft(x: float, y: float, w: float, h: float, *, form: str) -> str:
    text = f"{x}, {y}, {w}, {h}"
    if form == "attributes":
        return f'<r:li><rdf:Description m:Rectangle="{text}"/></r:li>'
    return f'<r:li rdf:parseType="Resource"><m:Rectangle>{text}</m:Rectangle></r:li>'


def restored(folder: Path, orientation: int, regions: bytes) -> tuple[Any, ElementTree.Element, list[str]]:
    """The result's pixels, its packet and its notes, of a picture stored with an orientation."""
    pixels = np.full((SIZE[1], SIZE[0], 3), 20, np.uint8)
    pixels[CORNER[1] : CORNER[1] + SIDES[1], CORNER[0] : CORNER[0] + SIDES[0]] = 235
    exif = made.exif({0x0112: (made.SHORT, orientation)})
    source = folder / "source.jpg"
    segments = (0xE1, b"Exif\0\0" + exif), (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + regions)
    source.write_bytes(made.jpeg(pixels, *segments))
    notes = made.restored(source, folder / "result.jpg")
    picture = image_file.read(folder / "result.jpg")
    return picture.frames[0].pixels, ElementTree.fromstring(picture.metadata.xmp or b""), notes


def values_of(tree: ElementTree.Element, namespace: str) -> dict[str, str]:
    """Every value of a namespace, attribute or element."""
    found = {}
    for element in tree.iter():
        pairs = [(element.tag, element.text or ""), *element.attrib.items()]
        found |= {name.partition("}")[2]: value for name, value in pairs if name.startswith(f"{{{namespace}}}")}
    return found


def box_of(pixels: Any) -> tuple[int, int, int, int]:
    """(left, top, width, height) of what is bright."""
    rows, columns = np.nonzero(pixels[..., 0] > 127)
    return columns.min(), rows.min(), columns.max() + 1 - columns.min(), rows.max() + 1 - rows.min()


@pytest.mark.parametrize("form", ["attributes", "elements", "description"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_face_stays_marked_however_the_picture_lay(tmp_path: Path, orientation: int, form: str) -> None:
    marks = area(*MIDDLE, *SHARES, form=form)
    corner = (CORNER[0] / SIZE[0], CORNER[1] / SIZE[1])
    pixels, tree, notes = restored(
        tmp_path, orientation, packet(marks, size(*SIZE), microsoft(*corner, *SHARES, form=form))
    )
    height, width = pixels.shape[:2]
    found = values_of(tree, xmp_regions.AREAS)
    x, y, w, h = (float(found[name]) for name in "xywh")
    marked = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
    assert marked == pytest.approx(box_of(pixels))
    x, y, w, h = map(float, values_of(tree, xmp_regions.MICROSOFT)["Rectangle"].split(","))
    assert (x * width, y * height, w * width, h * height) == pytest.approx(box_of(pixels))
    dimensions = values_of(tree, xmp_regions.DIMENSIONS)
    assert (dimensions["w"], dimensions["h"], dimensions["unit"]) == (str(width), str(height), "pixel")
    assert notes == []


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_pixels_are_counted_in_the_result(tmp_path: Path, orientation: int) -> None:
    middle = (CORNER[0] + SIDES[0] / 2, CORNER[1] + SIDES[1] / 2)
    pixels, tree, _ = restored(tmp_path, orientation, packet(area(*middle, *SIDES, unit="pixel")))
    found = values_of(tree, xmp_regions.AREAS)
    x, y, w, h = (int(found[name]) for name in "xywh")
    assert (x - w // 2, y - h // 2, w, h) == box_of(pixels)


def test_regions_that_were_marked_on_the_upright_picture_stay(tmp_path: Path) -> None:
    marks = area(0.3, 0.2, 0.1, 0.05)
    _, tree, _ = restored(tmp_path, 6, packet(size(SIZE[1], SIZE[0]), marks, microsoft(0.1, 0.2, 0.3, 0.4, form="x")))
    found = values_of(tree, xmp_regions.AREAS)
    assert [found[name] for name in "xywh"] == ["0.3", "0.2", "0.1", "0.05"]
    assert values_of(tree, xmp_regions.MICROSOFT)["Rectangle"] == "0.1, 0.2, 0.3, 0.4"
    dimensions = values_of(tree, xmp_regions.DIMENSIONS)
    assert (dimensions["w"], dimensions["h"]) == ("80", "160")


#: Pixels per unit.
SENSOR = {"X": "1000/3", "Y": "50"}


def of_exif(*, form: str) -> str:
    """XMP's copies of EXIF's subject and pixels per unit of sensor and paper, as Adobe's programs write them."""
    numbers = (CORNER[0] + SIDES[0] // 2, CORNER[1] + SIDES[1] // 2, *SIDES)
    subject = "".join(f"<rdf:li>{number}</rdf:li>" for number in numbers)
    subject = f"<e:SubjectArea><rdf:Seq>{subject}</rdf:Seq></e:SubjectArea>"
    if form == "attributes":
        sides = " ".join(f'e:FocalPlane{side}Resolution="{n}" t:{side}Resolution="{n}"' for side, n in SENSOR.items())
        return f"{subject}<r:x><rdf:Description {sides}/></r:x>"
    across, down = (f"<e:FocalPlane{side}Resolution>{n}</e:FocalPlane{side}Resolution>" for side, n in SENSOR.items())
    paper = "".join(f"<t:{side}Resolution>{n}</t:{side}Resolution>" for side, n in SENSOR.items())
    return across + subject + paper + down


@pytest.mark.parametrize("form", ["attributes", "elements"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_xmp_repeats_of_exif_follows_it(tmp_path: Path, orientation: int, form: str) -> None:
    pixels, tree, _ = restored(tmp_path, orientation, packet(of_exif(form=form)))
    x, y, width, height = (int(one.text or "") for one in tree.iter(f"{{{xmp.RDF}}}li"))
    assert (x - width // 2, y - height // 2, width, height) == pytest.approx(box_of(pixels), abs=1)
    found = values_of(tree, xmp_regions.EXIF)
    per_unit = [found["FocalPlaneXResolution"], found["FocalPlaneYResolution"]]
    assert per_unit == (["2000/3", "100/1"] if orientation < 5 else ["100/1", "2000/3"])
    paper = values_of(tree, xmp_regions.TIFF)
    assert [paper["XResolution"], paper["YResolution"]] == ([*SENSOR.values()][:: 1 if orientation < 5 else -1])


def boundary(unit: str) -> str:
    corners = "".join(f'<i:li i:rbX="{x}" i:rbY="{y}"/>' for x, y in ((1, 2), (30, 4)))
    return (
        f'<i:RegionBoundary i:rbUnit="{unit}" i:rbX="8" i:rbW="20"><i:rbY>24</i:rbY><i:rbH>10</i:rbH>{corners}'
        '</i:RegionBoundary><i:ImageRegion i:rbX="5"/>'
    )


def test_iptc_counts_pixels_of_the_result_or_parts_of_the_picture(tmp_path: Path) -> None:
    _, tree, notes = restored(tmp_path, 1, packet(boundary("pixel")))
    text = ElementTree.tostring(tree).decode()
    for name, value in (("rbX", "16"), ("rbW", "40"), ("rbX", "60"), ("rbY", "8"), ("rbX", "5")):
        assert f':{name}="{value}"' in text
    assert ":rbY>48<" in text
    assert ":rbH>20<" in text
    assert notes == []


def test_what_is_left_as_it_was_is_said(tmp_path: Path) -> None:
    regions = packet(boundary("pixel")).replace(b"i:", b"Iptc4xmpExt:").replace(b"xmlns:i=", b"xmlns:Iptc4xmpExt=")
    _, tree, notes = restored(tmp_path, 6, regions)
    assert 'rbX="30"' in ElementTree.tostring(tree).decode()
    assert any("IPTC's regions" in note for note in notes)


@pytest.mark.parametrize(
    "marks",
    [
        '<r:Area a:x="0.5"/>',
        '<r:Area a:x="half" a:y="0.5"/>',
        "<r:Area/>",
        '<r:Area a:x="0.1" a:y="0.2"><a:x>0.3</a:x></r:Area>',
        '<r:AppliedToDimensions d:w="wide" d:h="3"/>',
        "<m:Rectangle>0.1, 0.2, 0.3</m:Rectangle>",
        "<m:Rectangle/>",
        "<e:FocalPlaneXResolution>1000/3</e:FocalPlaneXResolution>",
        '<r:x e:FocalPlaneXResolution="0/1" e:FocalPlaneYResolution="5/0"/>',
        "<t:XResolution>72/1</t:XResolution>",
        '<r:x t:XResolution="72/1" t:YResolution="many"/>',
        "<e:SubjectArea><rdf:Seq><rdf:li>1</rdf:li><rdf:li>-2</rdf:li></rdf:Seq></e:SubjectArea>",
        "<e:SubjectArea><rdf:Seq><rdf:li>1</rdf:li></rdf:Seq></e:SubjectArea>",
    ],
)
def test_what_makes_no_sense_stays(tmp_path: Path, marks: str) -> None:
    restored(tmp_path, 6, packet(marks))
    kept = image_file.read(tmp_path / "result.jpg").metadata.xmp or b""
    assert marks.encode() in kept
