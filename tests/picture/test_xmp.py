"""XMP in place: the marker goes in, stale sizes are corrected, every other byte stays."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_engine.picture.image_file import Marker, xmp, xmp_regions, xmp_scan
from liif_engine.picture.image_file.placement import Placement
from liif_engine.picture.image_file.xmp import BadPacket, Correction, edited, find_marker

from .made import MARKER, XMP

CORRECTION = Correction(Placement(1, (31, 23), (62, 46)), upright=True)
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
TIFF = "{http://ns.adobe.com/tiff/1.0/}"


def tree(packet: bytes | None) -> ElementTree.Element:
    assert packet is not None
    return ElementTree.fromstring(packet)


@pytest.mark.parametrize("packet", [None, XMP])
def test_a_marker_comes_back(packet: bytes | None) -> None:
    result = edited(packet, marker=MARKER)
    assert result is not None
    assert find_marker(result) == MARKER
    types = [element.text for element in tree(result).iter(f"{{{xmp.IPTC_EXT}}}DigitalSourceType")]
    assert types == [xmp.SOURCE_TYPE]


def test_without_packet_and_marker_there_is_nothing() -> None:
    assert edited(None, correction=CORRECTION) is None


def test_a_second_marker_replaces_the_first() -> None:
    second = replace(MARKER, model="other", scale_x=3.5)
    result = edited(edited(XMP, marker=MARKER), marker=second)
    assert result is not None
    assert find_marker(result) == second
    assert result.count(b"SourceSHA256>") == 2  # one start tag, one end tag
    assert result.count(b"<ext:DigitalSourceType") == 1


def test_all_that_is_not_ours_stays_byte_for_byte() -> None:
    result = edited(XMP, marker=MARKER)
    assert result is not None
    before, _, after = XMP.partition(b"</rdf:RDF>")
    before = before.removesuffix(b" ")
    assert result.startswith(before)
    assert result.endswith(b"</rdf:RDF>" + after)


def test_sizes_and_orientation_are_corrected() -> None:
    description = tree(edited(XMP, correction=CORRECTION)).find(f".//{RDF}Description")
    assert description is not None
    assert (description.get(TIFF + "Orientation"), description.get(TIFF + "ImageWidth")) == ("1", "62")
    kept = tree(edited(XMP, correction=replace(CORRECTION, upright=False))).find(f".//{RDF}Description")
    assert kept is not None
    assert kept.get(TIFF + "Orientation") == "6"


def test_properties_as_elements_and_panoramas() -> None:
    packet = (
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        b' xmlns:e="http://ns.adobe.com/exif/1.0/" xmlns:G="http://ns.google.com/photos/1.0/panorama/">'
        b"<e:PixelXDimension>31</e:PixelXDimension><e:PixelYDimension> 23 </e:PixelYDimension>"
        b"<G:FullPanoWidthPixels>1000</G:FullPanoWidthPixels><G:CroppedAreaTopPixels>7.0</G:CroppedAreaTopPixels>"
        b"<G:LargestValidInteriorRectHeight>500</G:LargestValidInteriorRectHeight>"
        b"</rdf:Description></rdf:RDF>"
    )
    result = edited(packet, correction=Correction(Placement(1, (31, 23), (62, 69)), upright=True))
    assert result == (
        packet.replace(b">31<", b">62<")
        .replace(b"> 23 <", b">69<")
        .replace(b">1000<", b">2000<")
        .replace(b"7.0", b"21")
        .replace(b">500<", b">1500<")
    )


def test_the_size_of_paper_is_no_size_of_a_picture() -> None:
    packet = (
        f'<rdf:RDF xmlns:rdf="{xmp.RDF}"><rdf:Description rdf:about="" xmlns:r="{xmp_regions.WORKING_GROUP}"'
        f' xmlns:stDim="{xmp_regions.DIMENSIONS}"><r:Paper stDim:w="40" stDim:h="30"/></rdf:Description></rdf:RDF>'
    ).encode()
    assert edited(packet, correction=CORRECTION) == packet


def test_words_that_look_like_an_attribute_stay() -> None:
    packet = XMP.replace(
        b' tiff:Orientation="6"', b""" dc:note="it said tiff:Orientation='6' once" tiff:Orientation="6\""""
    )
    result = edited(packet, correction=CORRECTION)
    assert result is not None
    description = tree(result).find(f".//{RDF}Description")
    assert description is not None
    assert description.get(TIFF + "Orientation") == "1"
    assert b"it said tiff:Orientation='6' once" in result


def test_the_work_grows_with_the_packet_and_no_faster() -> None:
    """Made to do damage: with edits that were looked through for each other this took hours."""
    head, tail = XMP.split(b"   <dc:creator>")
    packet = head + b"<tiff:ImageWidth>31</tiff:ImageWidth>" * 100_000 + b"<dc:creator>" + tail
    result = edited(packet, correction=CORRECTION)
    assert result is not None
    assert result.count(b"<tiff:ImageWidth>62<") == 100_000


@pytest.mark.parametrize("many", ["elements", "attributes"])
def test_a_packet_of_too_many_parts_is_not_looked_at(many: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xmp_scan, "MOST_PARTS", 1000)
    names = " ".join(f'dc:a{number}=""' for number in range(1000))
    part = "<dc:a/>" * 1000 if many == "elements" else f"<dc:a {names}/>"
    packet = XMP.replace(b"   <dc:creator>", part.encode() + b"<dc:creator>")
    with pytest.raises(BadPacket, match="more than 1,000"):
        edited(packet, correction=CORRECTION, marker=MARKER)


def test_an_element_of_one_tag_takes_nothing_else_with_it() -> None:
    marked = edited(XMP, marker=MARKER)
    assert marked is not None
    empty = b'<liif:Model xmlns:liif="urn:liif-restore:1.0/"/><tiff:ImageLength/><dc:title>kept</dc:title>'
    result = edited(marked.replace(b"   <dc:creator>", empty + b"<dc:creator>"), correction=CORRECTION, marker=MARKER)
    assert result is not None
    assert find_marker(result) == MARKER
    assert b"<tiff:ImageLength/><dc:title>kept</dc:title><dc:creator>" in result


def test_a_thumbnail_of_the_old_pixels_goes() -> None:
    packet = XMP.replace(
        b"  </rdf:Description>",
        b'<xap:Thumbnails xmlns:xap="http://ns.adobe.com/xap/1.0/"><rdf:Alt><rdf:li>old</rdf:li></rdf:Alt>'
        b"</xap:Thumbnails>  </rdf:Description>",
    )
    assert (
        edited(packet, correction=replace(CORRECTION, upright=False, placement=Placement(1, (31, 23), (31, 23)))) == XMP
    )


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_other_encodings_stay(encoding: str) -> None:
    packet = XMP.decode().encode(encoding)
    result = edited(packet, correction=CORRECTION, marker=MARKER)
    assert result is not None
    assert find_marker(result) == MARKER
    assert result[:200] == packet[:200]


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"not xml",
        XMP[:-200],
        b"<a/>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>' + XMP,
        b'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>',
        b"<a>" * 500,
        b"\xff\xfe\x00",
    ],
    ids=["empty", "text", "cut", "no RDF", "entities", "empty RDF", "deep", "half a letter"],
)
def test_what_cannot_be_parsed_is_said(packet: bytes) -> None:
    with pytest.raises(BadPacket):
        edited(packet, correction=CORRECTION, marker=MARKER)
    assert find_marker(packet) is None


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40).map(str.strip)
scales = st.floats(1, 100, allow_nan=False)


settings = st.tuples(st.none() | st.integers(1, 100), st.none() | st.booleans(), st.sampled_from(["", "fp32", "bf16"]))


@given(words, words, words, scales, scales, settings, st.booleans())
def test_any_words_survive(
    software: str,
    version: str,
    model: str,
    x: float,
    y: float,
    how: tuple[int | None, bool | None, str],
    into_packet: bool,
) -> None:
    marker = Marker(software, version, model, x, y, "ab" * 32, *how)
    result = edited(XMP if into_packet else None, correction=CORRECTION, marker=marker)
    assert result is not None
    assert find_marker(result) == marker


def test_the_longest_marker_has_room() -> None:
    marker = Marker("liif-restore", "1.10.100", "x" * 200, 1 / 3, 1 / 3, "ab" * 32, 100, True, "fp32")
    result = edited(XMP, marker=marker)
    assert result is not None
    assert len(result) - len(XMP) <= xmp.ROOM_FOR_MARKER


def test_a_marker_of_words_as_long_as_no_file_s_name_is_none() -> None:
    """Each look at such a file would put them into the log, and soon there would be nothing else in it."""
    for words, is_one in (("x" * 255, True), ("x" * 100_000, False)):
        for name in ("model", "software", "version"):
            packet = edited(None, marker=replace(MARKER, **{name: words}))
            assert packet is not None
            assert (find_marker(packet) is not None) is is_one


def test_a_setting_that_cannot_be_read_is_none_and_the_marker_stays_one() -> None:
    """What is ours must be known as ours, whatever else is wrong with it."""
    marker = replace(MARKER, quality=95, consistent=False, precision="bf16")
    result = edited(None, marker=marker)
    assert result is not None
    result = result.replace(b">95<", b">high<").replace(b">no<", b">perhaps<")
    assert find_marker(result) == replace(marker, quality=None, consistent=None)


@given(st.data())
def test_a_broken_packet_is_refused_or_stays_parsable(data: st.DataObject) -> None:
    packet = bytearray(XMP)
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(packet) - 1))
        packet[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        result = edited(bytes(packet), correction=CORRECTION, marker=MARKER)
    except BadPacket:
        return
    tree(result)
    assert result is not None
    assert find_marker(result) == MARKER
