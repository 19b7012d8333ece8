"""Every kind of JPEG segment through a restoration, field by field; what is bound to the old pixels is refused."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ImageCms

from liif_engine.errors import UnsupportedError
from liif_engine.picture import image_file

from .jpegs import EXIF, PHOTOSHOP, XMP_NAME, opened, segments, twice
from .made import ASCII, LONG, SHORT, UNDEFINED, XMP, exif, gradient, icc_segments, jpeg, resource, restored

__all__ = ["twice"]  # a fixture


def extended_xmp(*parts: bytes) -> list[tuple[int, bytes]]:
    """XMP that is longer than its segment: the further ones, by Adobe's XMP specification, part 3, 1.1.3.1."""
    whole = b"".join(parts)
    head = b"http://ns.adobe.com/xmp/extension/\0" + hashlib.md5(whole).hexdigest().upper().encode()
    starts = [sum(map(len, parts[:number])) for number in range(len(parts))]
    return [(0xE1, head + struct.pack(">II", len(whole), at) + part) for at, part in zip(starts, parts, strict=True)]


def test_everything_at_once_field_by_field(twice: Any) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    iptc = b"\x1c\x02\x78\x00\x0bAn old photo"
    resources = resource(1028, iptc, b"name") + resource(1036, b"old thumbnail") + resource(1005, bytes(16))
    block = exif(
        {0x010F: (ASCII, b"Maker\0"), 0x0112: (SHORT, 6), 0x8825: (LONG, 0)},
        sub={0x927C: (UNDEFINED, b"maker note")},
        thumbnail=jpeg(gradient(6, 10)),
    )
    data = jpeg(
        gradient(24, 40),
        (0xE0, b"JFIF\0" + struct.pack(">BBBHHBB", 1, 2, 2, 118, 59, 0, 0)),
        (0xE1, EXIF + block),
        (0xE1, XMP_NAME + XMP),
        *icc_segments(profile, most=1000),
        (0xED, PHOTOSHOP + resources),
        (0xEC, b"Ducky\0 of another program"),
        (0xFE, b"a comment"),
        (0xFE, "zweiter ü".encode("latin-1")),
        (0xEF, b""),
    )
    _, result, notes = twice(data)
    assert notes == []
    old, new = segments(data), segments(result)
    assert [(m, p) for m, p in new if m in {0xEC, 0xEF, 0xFE}] == [(m, p) for m, p in old if m in {0xEC, 0xEF, 0xFE}]
    image = opened(result)
    assert image.info["icc_profile"] == profile
    # It lay on its side.
    assert new[0] == (0xE0, b"JFIF\0" + struct.pack(">BBBHHBB", 1, 2, 2, 59, 118, 0, 0))
    [photoshop] = [p for m, p in new if m == 0xED]
    assert photoshop == PHOTOSHOP + resource(1028, iptc, b"name") + resource(1005, bytes(16))
    parsed = image.getexif()
    assert (parsed[0x010F], parsed[0x0112], parsed.get_ifd(0x8769)[0x927C]) == ("Maker", 1, b"maker note")
    [packet] = [p for m, p in new if m == 0xE1 and p.startswith(XMP_NAME)]
    assert b'tiff:Orientation="1"' in packet
    assert "Zoë &amp; Bob".encode() in packet
    [kept] = [p for m, p in new if m == 0xE1 and p.startswith(EXIF)]
    thumbnail = opened(kept[kept.index(b"\xff\xd8\xff") :])
    assert thumbnail.size == (48, 80)  # upright and no larger than the picture


def test_the_thumbnail_shows_the_new_picture(twice: Any) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8) + np.array([200, 40, 40], np.uint8)
    block = exif({0x0112: (SHORT, 1)}, thumbnail=jpeg(np.zeros((30, 30, 3), np.uint8)))
    _, result, notes = twice(jpeg(pixels, (0xE1, EXIF + block)))
    [kept] = [p for m, p in segments(result) if m == 0xE1 and p.startswith(EXIF)]
    thumbnail = np.asarray(opened(kept[kept.index(b"\xff\xd8\xff") :]), int)
    assert notes == []
    assert np.abs(thumbnail - [200, 40, 40]).max() < 12


def test_a_profile_of_many_segments(twice: Any) -> None:
    profile = np.random.default_rng(0).bytes(200_000)
    _, result, _ = twice(jpeg(gradient(8, 8), *icc_segments(profile)))
    assert opened(result).info["icc_profile"] == profile


def test_exif_longer_than_a_segment_is_split_again(twice: Any) -> None:
    block = exif({0x010F: (ASCII, b"x" * 100_000 + b"\0"), 0x0112: (SHORT, 1)})
    most = 65527
    parts = [(0xE1, EXIF + block[at : at + most]) for at in range(0, len(block), most)]
    _, result, _ = twice(jpeg(gradient(8, 8), *parts))
    assert [p for m, p in segments(result) if m == 0xE1 and p.startswith(EXIF)] == [p for _, p in parts]


def test_bytes_after_the_picture_stay(twice: Any) -> None:
    _, result, _ = twice(jpeg(gradient(8, 8)) + b"ZIP archive or motion picture")
    assert result.endswith(b"\xff\xd9ZIP archive or motion picture")


REFUSED = {
    "JUMBF": (0xEB, b"JP\0\1\0\0\0\1 content credentials"),
    "JPEG-HDR": (0xEB, b"HDR_RI ver=11"),
    "gain map": (0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0"),
    "gain map in XMP": (
        0xE1,
        XMP_NAME + XMP.replace(b"xmlns:dc", b'xmlns:g="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:dc'),
    ),
    "depth map behind the picture": (
        0xE1,
        XMP_NAME + XMP.replace(b"xmlns:dc", b'xmlns:d="http://ns.google.com/photos/dd/1.0/depthmap/" xmlns:dc'),
    ),
    "several pictures": (0xE2, b"MPF\0II*\0 damaged"),
}


@pytest.mark.parametrize("segment", REFUSED.values(), ids=REFUSED.keys())
def test_what_belongs_to_the_old_pixels_is_refused(tmp_path: Path, segment: tuple[int, bytes]) -> None:
    path = tmp_path / "bound.jpg"
    path.write_bytes(jpeg(gradient(8, 8), segment))
    with pytest.raises(UnsupportedError) as caught:
        image_file.probe(path)
    assert caught.value.path == path


def test_a_depth_map_in_the_further_segments_of_xmp_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.jpg"
    further = extended_xmp(b'<rdf:Description xmlns:d="http://ns.google.com/photos/', b'1.0/depthmap/"/>')
    path.write_bytes(jpeg(gradient(8, 8), (0xE1, XMP_NAME + XMP), *further))
    with pytest.raises(UnsupportedError, match="depth map"):
        image_file.probe(path)


def test_two_packets_of_xmp_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.jpg"
    path.write_bytes(jpeg(gradient(8, 8), (0xE1, XMP_NAME + XMP), (0xE1, XMP_NAME + XMP)))
    with pytest.raises(UnsupportedError, match="two XMP packets"):
        image_file.probe(path)


def test_a_depth_map_behind_the_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "focus.jpg"
    path.write_bytes(jpeg(gradient(8, 8)) + b"\0\0\x01\x0b\x13\0\0\0DualShot_DepthMap_1 SEFT")
    with pytest.raises(UnsupportedError, match="depth map"):
        image_file.probe(path)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (extended_xmp(b"<x>a history" * 5000, b"its end</x>"), "XMP that goes on in further segments"),
        (icc_segments(b"half of a profile" * 9000)[:1], "an ICC profile that cannot be read"),
    ],
    ids=["XMP", "ICC"],
)
def test_what_is_not_put_together_stays_in_jpeg_alone(
    twice: Any, tmp_path: Path, parts: list[tuple[int, bytes]], words: str
) -> None:
    source, result, notes = twice(jpeg(gradient(8, 8), (0xE1, XMP_NAME + XMP), *parts))
    assert notes == []
    assert [one for one in segments(result) if one in parts] == parts
    (tmp_path / "other.jpg").write_bytes(source)
    with pytest.raises(UnsupportedError, match=f"has {words}, which PNG cannot hold"):
        restored(tmp_path / "other.jpg", tmp_path / "other.png", format="PNG")


def named_xmp(further: list[tuple[int, bytes]]) -> bytes:
    """A main packet that names the further one."""
    checksum = further[0][1][35:67]
    note = b'<rdf:Description rdf:about="" xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="%s"/>' % checksum
    return XMP.replace(b"</rdf:RDF>", note + b"</rdf:RDF>")


FURTHER = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:h="urn:h"'
    b' xmlns:xmp="http://ns.adobe.com/xap/1.0/" tiff:ImageWidth="%b"><h:history>',
    b"what was done " * 8000,
    b"</h:history>%b</rdf:Description></rdf:RDF></x:xmpmeta>",
)


@pytest.mark.parametrize("mixed", [False, True])
def test_what_is_stale_in_the_further_segments_of_xmp_is_put_right(twice: Any, mixed: bool) -> None:
    begin, middle, end = FURTHER
    old = begin % b"24" + middle + end % b"<xmp:Thumbnails>of the old pixels</xmp:Thumbnails>"
    new = begin % b"48" + middle + end % b""
    parts = extended_xmp(*(old[at : at + 50_000] for at in range(0, len(old), 50_000)))
    main = named_xmp(parts)
    stored = [parts[2], parts[0], parts[1], parts[0]] if mixed else parts
    _, result, notes = twice(jpeg(gradient(16, 24), (0xE1, XMP_NAME + main), (0xFE, b"between"), *stored))
    assert notes == []
    found = [payload[35:] for _, payload in segments(result) if payload.startswith(b"http://ns.adobe.com/xmp/ext")]
    checksum = hashlib.md5(new).hexdigest().upper().encode()
    assert b"".join(one[40:] for one in found) == new
    starts = [0, *np.cumsum([len(one) - 40 for one in found])[:-1]]
    assert [one[:40] for one in found] == [checksum + struct.pack(">II", len(new), at) for at in starts]
    [packet] = [payload for _, payload in segments(result) if payload.startswith(XMP_NAME)]
    assert b'HasExtendedXMP="%b"' % checksum in packet


@pytest.mark.parametrize("fault", ["lost", "unnamed", "broken"])
def test_further_segments_of_xmp_that_are_not_whole_stay_as_they_are(twice: Any, fault: str) -> None:
    begin, middle, end = FURTHER
    parts = extended_xmp(begin % b"24", middle[:50_000], middle[50_000:], end % (b"<" if fault == "broken" else b""))
    main = XMP if fault == "unnamed" else named_xmp(parts)
    stored = parts[:1] + parts[2:] if fault == "lost" else parts
    _, result, notes = twice(jpeg(gradient(16, 24), (0xE1, XMP_NAME + main), *stored))
    assert [one for one in segments(result) if one in parts] == stored
    assert [note[:40] for note in notes] == ["the XMP in further segments is damaged ("] * (fault == "broken")


payloads = st.binary(max_size=300)
segment_lists = st.lists(
    st.one_of(
        st.tuples(st.just(0xFE), payloads),
        st.tuples(st.sampled_from([0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE9, 0xEA, 0xEC, 0xEF]), payloads),
        st.tuples(st.just(0xED), payloads.map(lambda p: b"not Photoshop" + p)),
        st.tuples(st.just(0xE1), payloads.map(lambda p: b"neither EXIF nor XMP" + p)),
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    segment_lists,
    st.none() | st.binary(min_size=1, max_size=150_000).filter(lambda profile: b"XYB" not in profile),  # refused
    st.binary(max_size=40),
)
def test_any_metadata_in_is_the_same_metadata_out(
    twice: Any, given_segments: list[tuple[int, bytes]], profile: bytes | None, resources: bytes
) -> None:
    extra = icc_segments(profile) if profile else []
    extra += [(0xED, PHOTOSHOP + resource(1028, resources))]
    _, result, notes = twice(jpeg(gradient(8, 8), *given_segments, *extra))
    assert notes == []
    mine = [(m, p) for m, p in segments(result) if m not in {0xE0, 0xE1, 0xEE} or p.startswith(b"neither")]
    mine = [(m, p) for m, p in mine if m >= 0xE0]
    assert mine == [(m, p) for m, p in (*given_segments, *extra)]


def indexed(film: bytes) -> bytes:
    """A camera's file: a picture, an index of it and a smaller copy, that copy, and what stands behind both."""
    preview = jpeg(gradient(6, 8))

    def index(size: int, place: int) -> bytes:
        entries = struct.pack("<IIIHH", 0x20030000, 0, 0, 0, 0) + struct.pack("<IIIHH", 0x10001, size, place, 0, 0)
        head = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0xB002, 7, len(entries), 26) + bytes(4)
        return b"MPF\0" + head + entries

    main = jpeg(gradient(12, 16), (0xE2, index(0, 0)))
    start = main.index(b"MPF\0") + 4
    main = jpeg(gradient(12, 16), (0xE2, index(len(preview), len(main) - start)))
    return main + preview + film


@pytest.mark.parametrize("film", [b"", b"ftyp a film of the moment"], ids=["nothing", "a film"])
def test_what_stands_behind_a_cameras_previews_is_kept(twice: Any, film: bytes) -> None:
    data, result, notes = twice(indexed(film))
    end = result.index(b"\xff\xd9") + 2
    assert result[end:] == film
    assert data.endswith(film)
    assert [note for note in notes if "preview pictures" in note]
