"""Every PNG chunk through a restoration, one by one: what is kept, what becomes another chunk, what is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from liif_engine.errors import TooLargeError, UnsupportedError
from liif_engine.picture import image_file
from liif_engine.picture.image_file import Density, Limits

from .made import LONG, SHORT, XMP, chunk, exif, gradient, jpeg, png, restored
from .pngs import XMP_TEXT, Twice, chunks, read, twice

__all__ = ["twice"]  # a fixture


def test_everything_at_once_chunk_by_chunk(twice: Twice) -> None:
    profile = b"name\0\0" + zlib.compress(b"any profile at all")
    kept = [
        (b"iCCP", profile),
        (b"gAMA", struct.pack(">I", 100_000)),
        (b"cHRM", struct.pack(">8I", *range(1, 9))),
        (b"sPLT", b"a palette\0\x08" + bytes(6)),
        (b"bKGD", struct.pack(">3H", 1, 2, 3)),
        (b"pHYs", struct.pack(">IIB", 11_811, 5_906, 1)),
        (b"tIME", bytes([7, 208, 1, 2, 3, 4, 5])),
        (b"tEXt", b"Title\0caf\xe9"),
        (b"zTXt", b"Software\0\0" + zlib.compress(b"old program")),
        (b"iTXt", b"Author\0\0\0fr\0Auteur\0" + "Zoë".encode()),
        (b"tEXt", b"Title\0the same title again"),
        (b"prVt", b"private and safe to copy"),
    ]
    late = [(b"tEXt", b"Comment\0after the pixels"), (b"zzZz", b"unknown")]
    data = png(
        gradient(6, 5),
        *kept,
        (b"eXIf", exif({0x0112: (SHORT, 1), 0x0100: (LONG, 5)})),
        (b"iTXt", XMP_TEXT + XMP),
        late=late,
    )
    before, result = twice(data)
    written = chunks(result)
    order = [item for item in written if item in [*kept, *late]]
    assert sorted(order) == sorted([*kept, *late])
    assert [item for item in order if item[0] != b"bKGD"] == [item for item in [*kept, *late] if item[0] != b"bKGD"]
    pixels_at = next(i for i, (kind, _) in enumerate(written) if kind == b"IDAT")
    assert [item in written[pixels_at:] for item in (*kept, *late)] == [False] * len(kept) + [True] * len(late)
    assert before.metadata.density == Density((11_811, 1), (5_906, 1), "metre")
    image = Image.open(io.BytesIO(result))
    assert image.info["icc_profile"] == b"any profile at all"
    parsed = image.getexif()
    assert (parsed[0x0112], parsed[0x0100]) == (1, 10)
    assert "Zoë &amp; Bob" in image.text["XML:com.adobe.xmp"]


def test_titled_texts_become_comments_that_say_title_and_language(tmp_path: Path) -> None:
    source, result = tmp_path / "source.png", tmp_path / "result.jpg"
    texts = [
        (b"tEXt", b"Title\0caf\xe9"),
        (b"iTXt", b"Author\0\0\0fr\0Auteur\0" + "Zoë".encode()),
        (b"iTXt", b"Title\0\0\0de\0\0Markt"),
        (b"iTXt", b"Comment\0\0\0\0\0plain"),
        (b"iTXt", b"Comment\0\1\0en\0\0" + zlib.compress(b"in English")),
    ]
    source.write_bytes(png(gradient(6, 5), *texts))
    assert restored(source, result, format="JPEG") == []
    said = ["Title: café", "Author (Auteur, fr): Zoë", "Title (de): Markt", "plain", "Comment (en): in English"]
    assert [comment.decode() for comment in image_file.read(result).metadata.comments] == said


@pytest.mark.parametrize("kind", [b"sBIT", b"hIST", b"iDOT"])
def test_what_describes_only_the_old_samples_is_left_out_and_said(tmp_path: Path, kind: bytes) -> None:
    source = tmp_path / "source.png"
    source.write_bytes(png(gradient(4, 4), (kind, b"\x05\x05\x05")))
    [note] = restored(source, tmp_path / "result.png")
    assert kind.decode() in note


def test_chunks_bound_to_the_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="miNE"):
        read(tmp_path / "bound.png", png(gradient(4, 4), (b"miNE", b"an offset of each row")))


def test_content_credentials_are_refused_by_their_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="Content Credentials"):
        read(tmp_path / "signed.png", png(gradient(4, 4), (b"caBX", b"content credentials")))


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        (b"\n8bim\n      12\n3842494d04040000\n00000000\n", "photoshop", b"8BIM\x04\x04\0\0\0\0\0\0"),
        (b"\niptc\n       5\n1c02780000\n", "iptc", b"\x1c\x02\x78\0\0"),
        (b"\nIPTC profile\n       5\n1c02780000\n", "iptc", b"\x1c\x02\x78\0\0"),  # as exiftool writes it
        (b"\niptc\n       9\n1c02780000\n", "iptc", None),  # not as long as it says
        (b"\niptc\n       5\n1c0278000z\n", "iptc", None),
        (b"", "iptc", None),
    ],
)
def test_profiles_that_png_holds_in_texts(twice: Twice, text: bytes, field: str, value: bytes | None) -> None:
    chunks = (b"tEXt", b"Raw profile type iptc\0" + text)
    source, result = twice(png(gradient(4, 5), chunks))
    assert getattr(source.metadata, field) == value
    assert [one.title for one in source.metadata.texts] == ([] if value else ["Raw profile type iptc"])
    assert chunk(*chunks) in result


def raw_profile(name: bytes, content: bytes, *, line: bytes = b"") -> bytes:
    """The data of a zTXt chunk, as ImageMagick wrote what PNG had no chunks for; `line` names it again, or `name`."""
    digits = b"\n%s\n%8d\n%s\n" % (line or name, len(content), content.hex().encode())
    return b"Raw profile type %s\0\0" % name + zlib.compress(digits)


@pytest.mark.parametrize(
    ("name", "line"),
    [(b"exif", b""), (b"APP1", b""), (b"APP1", b"generic profile"), (b"APP1", b"\xaa\x01{generic prof")],
    ids=["exif", "APP1", "of ImageMagick 5", "of another ImageMagick 5"],
)
@pytest.mark.parametrize("prefix", [b"Exif\0\0", b""])
def test_exif_in_a_text_becomes_the_chunk_and_turns_the_picture(
    twice: Twice, name: bytes, line: bytes, prefix: bytes
) -> None:
    block = exif({0x0112: (SHORT, 6)}, thumbnail=jpeg(gradient(8, 8)))
    source, result = twice(png(gradient(4, 6), (b"zTXt", raw_profile(name, prefix + block, line=line))))
    assert (source.metadata.exif, source.metadata.texts, source.width) == (block, (), 4)
    kinds = [kind for kind, _ in chunks(result)]
    assert (kinds.count(b"eXIf"), kinds.count(b"zTXt")) == (1, 0)
    assert Image.open(io.BytesIO(result)).getexif()[0x0112] == 1


@pytest.mark.parametrize(
    ("name", "prefix"), [(b"xmp", b""), (b"APP1", b"http://ns.adobe.com/xap/1.0/\0")], ids=["xmp", "APP1"]
)
def test_xmp_in_a_text_becomes_the_chunk(twice: Twice, name: bytes, prefix: bytes) -> None:
    source, result = twice(png(gradient(4, 6), (b"zTXt", raw_profile(name, prefix + XMP))))
    assert (source.metadata.xmp, source.metadata.texts) == (XMP, ())
    assert [kind for kind, _ in chunks(result)].count(b"zTXt") == 0
    assert "Zoë" in Image.open(io.BytesIO(result)).text["XML:com.adobe.xmp"]


def test_a_text_beside_the_chunk_itself_is_a_text(twice: Twice) -> None:
    block, other = exif({0x0112: (SHORT, 1)}), exif({0x0112: (SHORT, 6)})
    text = (b"zTXt", raw_profile(b"exif", b"Exif\0\0" + other))
    source, result = twice(png(gradient(4, 6), text, late=[(b"eXIf", block)]))
    assert (source.metadata.exif, source.width) == (block, 6)
    assert chunk(*text) in result


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_compressed_metadata_has_a_limit(tmp_path: Path, kind: bytes) -> None:
    data = png(gradient(4, 4), (kind, b"bomb\0\0" + zlib.compress(bytes(1 << 20), 9)))
    with pytest.raises(TooLargeError, match="metadata"):
        read(tmp_path / "bomb.png", data, limits=Limits(max_metadata_bytes=100_000))
    assert read(tmp_path / "bomb.png", data).width == 4


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
titles = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=79)
pieces = st.one_of(
    st.tuples(titles, texts).map(lambda t: (b"iTXt", t[0].encode() + b"\0\0\0\0\0" + t[1].encode())),
    st.tuples(titles, st.binary(max_size=50)).map(
        lambda t: (b"tEXt", t[0].encode() + b"\0" + t[1].replace(b"\0", b""))
    ),
    st.tuples(titles, st.binary(max_size=50)).map(lambda t: (b"zTXt", t[0].encode() + b"\0\0" + zlib.compress(t[1]))),
    st.binary(max_size=60).map(lambda data: (b"prVa", data)),
    st.tuples(st.integers(1, 1 << 30), st.integers(0, 1)).map(lambda t: (b"pHYs", struct.pack(">IIB", t[0], 7, t[1]))),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(pieces, max_size=6), st.lists(pieces, max_size=3))
def test_any_metadata_in_is_the_same_metadata_out(
    twice: Twice, early: list[tuple[bytes, bytes]], late: list[tuple[bytes, bytes]]
) -> None:
    late = [piece for piece in late if piece[0] != b"pHYs"]
    _, result = twice(png(gradient(2, 3), *early, late=late))
    ours = (b"IHDR", b"IDAT", b"IEND")
    written = [item for item in chunks(result) if item[0] not in ours and not item[1].startswith(XMP_TEXT)]
    assert written == [*early, *late]
