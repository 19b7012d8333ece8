"""JPEG: pixels and every kind of segment through a restoration, field by field, with Pillow as the witness."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from liif_engine.errors import InputError, LiifError, TooLargeError, TruncatedError, UnsupportedError
from liif_engine.picture import image_file
from liif_engine.picture.image_file import Limits, photoshop
from liif_engine.picture.image_file.placement import Placement

from .made import (
    ASCII,
    LONG,
    MARKER,
    SHORT,
    UNDEFINED,
    XMP,
    exif,
    gradient,
    icc_segments,
    jpeg,
    png,
    resource,
    restored,
)

EXIF, XMP_NAME, PHOTOSHOP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0"


def extended_xmp(*parts: bytes) -> list[tuple[int, bytes]]:
    """XMP that is longer than its segment: the further ones, by Adobe's XMP specification, part 3, 1.1.3.1."""
    whole = b"".join(parts)
    head = b"http://ns.adobe.com/xmp/extension/\0" + hashlib.md5(whole).hexdigest().upper().encode()
    starts = [sum(map(len, parts[:number])) for number in range(len(parts))]
    return [(0xE1, head + struct.pack(">II", len(whole), at) + part) for at, part in zip(starts, parts, strict=True)]


@pytest.fixture
def twice(tmp_path: Path) -> Any:
    """Restores a file's bytes: (source, result, notes)."""

    def run(data: bytes, **options: Any) -> tuple[bytes, bytes, list[str]]:
        source, result = tmp_path / "source.jpg", tmp_path / "result.jpg"
        source.write_bytes(data)
        result.unlink(missing_ok=True)
        notes = restored(source, result, **options)
        return data, result.read_bytes(), notes

    return run


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def segments(data: bytes) -> list[tuple[int, bytes]]:
    """(marker, payload) up to the pixels, read by the standard's letter."""
    found, position = [], 2
    while data[position + 1] != 0xDA:
        marker, size = struct.unpack_from(">xBH", data, position)
        found.append((marker, data[position + 4 : position + 2 + size]))
        position += 2 + size
    return found


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_come_out_upright(twice: Any, orientation: int) -> None:
    block = exif({0x0112: (SHORT, orientation), 0x0100: (LONG, 40)}, sub={0xA002: (SHORT, 40), 0xA003: (SHORT, 24)})
    data, result, notes = twice(jpeg(gradient(24, 40), (0xE1, EXIF + block)))
    shown = ImageOps.exif_transpose(opened(data))
    new = opened(result)
    assert notes == []
    assert new.size == (2 * shown.width, 2 * shown.height)
    assert np.abs(np.asarray(new.resize(shown.size, Image.Resampling.BOX), int) - np.asarray(shown)).max() < 6
    parsed = new.getexif()
    sub = parsed.get_ifd(0x8769)
    assert (parsed[0x0112], parsed[0x0100], sub[0xA002], sub[0xA003]) == (1, new.width, new.width, new.height)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_kinds_of_pixels(twice: Any, mode: str, progressive: bool) -> None:
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    pixels = gradient(48, 64, channels)
    if mode == "CMYK":
        image = Image.frombytes("CMYK", (64, 48), pixels.tobytes())
        data = jpeg(image, progressive=progressive)
    else:
        data = jpeg(pixels, progressive=progressive)
    _, result, notes = twice(data)
    old, new = opened(data), opened(result)
    assert (new.mode, new.size, notes) == (mode, (128, 96), [])
    assert bool(new.info.get("progressive")) == progressive
    small = new.resize(old.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(small, int) - np.asarray(old)).mean() < 1.5
    if mode == "RGB":
        sof = next(payload for marker, payload in segments(result) if marker in {0xC0, 0xC2})
        assert [sof[i] for i in (7, 10, 13)] == [0x11] * 3  # 4:4:4


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (16, 5), (257, 1)])
def test_progressive_files_of_every_size(twice: Any, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    _, result, _ = twice(jpeg(noise, progressive=True), quality=100)
    assert opened(result).size == (2 * size[1], 2 * size[0])


def test_ycck_is_cmyk_with_the_same_colours(twice: Any, tmp_path: Path) -> None:
    import imagecodecs

    pixels = gradient(32, 32, 4)
    data = imagecodecs.jpeg8_encode(pixels, level=98, colorspace="CMYK", outcolorspace="YCCK", subsampling="444")
    assert next(p for m, p in segments(data) if m == 0xEE)[11] == 2  # Adobe says: YCCK
    source = tmp_path / "ycck.jpg"
    source.write_bytes(data)
    picture = image_file.read(source)
    assert picture.layout == "CMYK"
    witness = opened(data)  # Pillow gives ink; our arrays hold light
    assert np.abs(255 - np.asarray(witness, int) - picture.frames[0].pixels).max() <= 2
    _, result, _ = twice(data)
    again = np.asarray(opened(result).resize((32, 32), Image.Resampling.BOX), int)
    assert np.abs(again - np.asarray(witness)).mean() < 1.5


def test_files_coded_as_rgb_stay_so(twice: Any) -> None:
    data = jpeg(gradient(32, 48), keep_rgb=True)
    _, result, _ = twice(data)
    adobe = next(payload for marker, payload in segments(result) if marker == 0xEE)
    assert adobe[11] == 0
    small = np.asarray(opened(result).resize((48, 32), Image.Resampling.BOX), int)
    assert np.abs(small - np.asarray(opened(data))).mean() < 1.5


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


def test_the_marker_is_read_back(twice: Any, tmp_path: Path) -> None:
    _, result, _ = twice(jpeg(gradient(8, 8)))
    path = tmp_path / "marked.jpg"
    path.write_bytes(result)
    assert image_file.read_marker(path) == MARKER
    assert result[-2:] == b"\xff\xd9"


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


def test_cmyk_without_adobe_is_refused(tmp_path: Path) -> None:
    data = jpeg(Image.new("CMYK", (8, 8)))
    path = tmp_path / "cmyk.jpg"
    at = data.index(b"\xff\xee")
    path.write_bytes(data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4]) :])
    with pytest.raises(UnsupportedError, match="Adobe"):
        image_file.probe(path)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["no end", "end marker"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_cut_file_is_refused_unless_allowed(tmp_path: Path, progressive: bool, end: bytes, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = jpeg(noise, progressive=progressive)
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: int(len(data) * share)] + end)
    with pytest.raises(TruncatedError, match="ends early") as caught:
        image_file.read(path)
    assert (caught.value.path, "--allow-truncated" in caught.value.explain()) == (path, True)
    picture = image_file.read(path, allow_truncated=True)
    assert (picture.width, picture.height) == (64, 64)
    if not progressive:  # the first rows are whole
        whole = np.asarray(opened(data), int)
        np.testing.assert_array_equal(picture.frames[0].pixels[:8], whole[:8])


def test_a_header_that_claims_more_than_the_data_can_hold(tmp_path: Path) -> None:
    data = bytearray(jpeg(gradient(16, 16)))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 15_000, 15_000)
    path = tmp_path / "liar.jpg"
    path.write_bytes(data)
    with pytest.raises(TruncatedError, match="can hold at most"):
        image_file.read(path)
    data[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    path.write_bytes(data)
    with pytest.raises(TooLargeError, match="4,225,000,000 pixels"):
        image_file.probe(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c", "12 bits"),
        (b"\xff\xc0\0\x11\x08\0\x10", b"\xff\xc0\0\x11\x08\0\0", "DNL"),
        (b"\xff\xc0", b"\xff\xc3", "lossless JPEG"),
        (b"\x01\x11\x00\x02\x11\x01", b"\x01\x00\x00\x02\x11\x01", "sampling"),
    ],
)
def test_odd_frame_headers(tmp_path: Path, old: bytes, new: bytes, words: str) -> None:
    path = tmp_path / "odd.jpg"
    data = jpeg(gradient(16, 16))
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    with pytest.raises(LiifError, match=words) as caught:
        image_file.probe(path)
    assert caught.value.path == path


def test_limits_of_metadata_and_segments(tmp_path: Path) -> None:
    path = tmp_path / "many.jpg"
    path.write_bytes(jpeg(gradient(8, 8), *[(0xFE, bytes(1000))] * 50))
    image_file.probe(path)
    with pytest.raises(TooLargeError):
        image_file.probe(path, limits=Limits(max_metadata_bytes=20_000))
    with pytest.raises(TooLargeError):
        image_file.probe(path, limits=Limits(max_pieces=20))


def test_a_scan_bomb_is_refused(tmp_path: Path) -> None:
    """Each scan of a progressive file costs a pass over the whole picture."""
    data = jpeg(gradient(16, 16), progressive=True)
    at = data.rindex(b"\xff\xda")
    path = tmp_path / "scans.jpg"
    path.write_bytes(data[:at] + data[at:-2] * 1000 + b"\xff\xd9")
    with pytest.raises(InputError, match="scans"):
        image_file.probe(path)
    large = jpeg(Image.new("L", (8000, 8000)), progressive=True)
    at = large.rindex(b"\xff\xda")
    path.write_bytes(large[:at] + large[at:-2] * 80 + b"\xff\xd9")
    with pytest.raises(InputError, match="scans"):
        image_file.probe(path)


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
@given(segment_lists, st.one_of(st.none(), st.binary(min_size=1, max_size=150_000)), st.binary(max_size=40))
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


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_end_in_words(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    block = exif({0x0112: (SHORT, 6)}, thumbnail=jpeg(gradient(6, 6)))
    progressive = data.draw(st.booleans())
    whole = jpeg(gradient(16, 16), (0xE1, EXIF + block), (0xE1, XMP_NAME + XMP), progressive=progressive)
    file = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 10))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.jpg"
    path.write_bytes(file)
    try:
        picture = image_file.read(path, limits=Limits(max_pixels=1_000_000), allow_truncated=data.draw(st.booleans()))
    except LiifError as error:
        assert error.path == path  # noqa: PT017 - either outcome is right
    else:
        assert picture.frames[0].pixels.shape == (picture.height, picture.width, len(picture.layout))


def test_stale_resources_only() -> None:
    kept = resource(1005, b"resolution") + resource(1028, b"odd")
    assert photoshop.without_stale_resources(kept) == kept
    assert photoshop.without_stale_resources(resource(1033, b"bgr") + kept) == kept
    broken = kept + b"8BIM\x04\x0c\0\0\xff\xff\xff\xff"
    assert photoshop.without_stale_resources(broken) == broken


#: A resource's content: versions, the grid, then how many guides, and of each its place in 1/32 pixels and its kind.
GUIDES = struct.pack(">IIII", 1, 576, 576, 2)


def slices(version: int, count: int) -> bytes:
    """Photoshop's slices: the picture's bounds, its name and a list, or a descriptor."""
    if version == 6:
        return struct.pack(">6I4sI", 6, 0, 0, 16, 24, 2, "ab".encode("utf-16-be"), count) + b"..."
    return struct.pack(">II", version, 16) + b"\0\0\0\7sliceIDlong" * count


@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
@pytest.mark.parametrize(
    ("orientation", "moved"),
    [(1, [(6 * 32 + 2, 0), (10 * 32, 1)]), (6, [(6 * 32 + 2, 1), (22 * 32, 0)])],
)
def test_photoshop_s_guides_lie_where_they_are_seen(
    tmp_path: Path, kind: str, orientation: int, moved: list[tuple[int, int]]
) -> None:
    pixels, block = gradient(16, 24), exif({0x0112: (SHORT, orientation)})
    iptc = resource(1028, b"iptc", b"name")
    old = iptc + resource(1032, GUIDES + struct.pack(">ibib", 3 * 32 + 1, 0, 5 * 32, 1)) + resource(1005, bytes(16))
    path, result = tmp_path / f"source.{kind}", tmp_path / f"result.{kind}"
    if kind == "jpg":
        path.write_bytes(jpeg(pixels, (0xE1, EXIF + block), (0xED, PHOTOSHOP + old)))
    elif kind == "png":
        digits = b"\n8bim\n%8d\n%s\n" % (len(old), old.hex().encode())
        path.write_bytes(png(pixels, (b"eXIf", block), (b"tEXt", b"Raw profile type 8bim\0" + digits)))
    else:
        Image.fromarray(pixels).save(path, tiffinfo={274: orientation, 34377: old})
    assert restored(path, result) == []
    (one, one_kind), (other, other_kind) = moved
    guides = GUIDES + struct.pack(">ibib", one, one_kind, other, other_kind)
    wanted = iptc + resource(1032, guides) + resource(1005, bytes(16))
    assert image_file.read(result).metadata.photoshop == wanted


@pytest.mark.parametrize(("orientation", "turned"), [(1, False), (3, False), (6, True), (7, True)])
def test_photoshop_s_resolution_is_turned_with_the_picture(twice: Any, orientation: int, turned: bool) -> None:
    across, down = struct.pack(">IHH", 300 << 16, 1, 1), struct.pack(">IHH", 200 << 16, 1, 2)
    block = exif({0x0112: (SHORT, orientation)})
    data = jpeg(gradient(16, 24), (0xE1, EXIF + block), (0xED, PHOTOSHOP + resource(1005, across + down)))
    _, result, _ = twice(data)
    [resources] = [payload for marker, payload in segments(result) if marker == 0xED]
    assert resources == PHOTOSHOP + resource(1005, down + across if turned else across + down)


@pytest.mark.parametrize(("version", "count", "noted"), [(6, 1, False), (6, 2, True), (8, 1, False), (8, 3, True)])
def test_photoshop_s_slices_are_left_out_and_several_are_noted(
    twice: Any, version: int, count: int, noted: bool
) -> None:
    resources = resource(1050, slices(version, count))
    _, result, notes = twice(jpeg(gradient(16, 24), (0xED, PHOTOSHOP + resources)))
    assert notes == ["Photoshop's slices were left out: they divide the old pixels"] * noted
    assert [payload for marker, payload in segments(result) if marker == 0xED] == []


def test_guides_that_are_broken_and_those_of_a_picture_of_the_same_size_stay() -> None:
    same, larger = Placement(1, (24, 16), (24, 16)), Placement(1, (24, 16), (48, 32))
    kept = resource(1032, GUIDES + b"\0\0\0\7\1") + resource(1050, slices(6, 2))
    assert photoshop.corrected(kept, same) == (kept, [])
    for broken in (GUIDES[:7], GUIDES, GUIDES + b"\x7f\xff\xff\xff\0" * 2):
        assert photoshop.corrected(resource(1032, broken), larger) == (resource(1032, broken), [])


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
