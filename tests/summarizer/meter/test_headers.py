from __future__ import annotations

import base64
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from summarizer.meter.headers import (
    audio_seconds,
    decoded_size,
    head_bytes,
    image_size,
    pdf_pages,
    split_data_url,
)


def png(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def jpeg(width: int, height: int, before: bytes = b"") -> bytes:
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\x00"
    return b"\xff\xd8" + before + b"\xff\xff" + frame[1:] + b"\xff\xd9"


def riff(form: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(body) + 4) + form + body


def wav(seconds: float, rate: int = 16_000) -> bytes:
    body = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16) + b"data" + struct.pack("<I", 0)
    return riff(b"WAVE", body + b"\0" * round(seconds * rate * 2))


APP1 = b"\xff\xe1" + struct.pack(">H", 60_002) + b"\0" * 60_000


@pytest.mark.parametrize(
    "head",
    [
        png(640, 480),
        jpeg(640, 480),
        jpeg(640, 480, APP1),
        b"GIF89a" + struct.pack("<HH", 640, 480),
        b"GIF87a" + struct.pack("<HH", 640, 480),
        riff(
            b"WEBP",
            b"VP8X" + struct.pack("<II", 10, 0) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little"),
        ),
        riff(b"WEBP", b"VP8 " + b"\0" * 10 + struct.pack("<HH", 640 | 0x4000, 480)),
        riff(b"WEBP", b"VP8L" + b"\0" * 4 + b"\x2f" + struct.pack("<I", 639 | 479 << 14)),
    ],
    ids=["png", "jpeg", "jpeg-app1", "gif89", "gif87", "webp-x", "webp-lossy", "webp-lossless"],
)
def test_a_size_is_read_from_the_head(head: bytes) -> None:
    """PNG, JPEG, GIF and all three WebP forms say their size without being decoded."""
    assert image_size(head) == (640, 480)


@pytest.mark.parametrize(
    "head", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF1234WEBPVP8X", b"<svg/>", png(0, 5)]
)
def test_what_the_head_does_not_say_is_none(head: bytes) -> None:
    """Cut off, empty, unknown or zero: no size rather than a wrong one."""
    assert image_size(head) is None


PREFIX = st.sampled_from(
    [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"GIF89a", b"RIFF....WEBPVP8 ", b"RIFF....WAVEfmt ", b"ID3"]
)


@given(PREFIX, st.binary(max_size=60))
def test_damaged_files_never_raise(prefix: bytes, rest: bytes) -> None:
    """Any bytes have a size, a duration and pages, or none."""
    head = prefix + rest
    size, seconds = image_size(head), audio_seconds(head, len(head))

    assert size is None or min(size) > 0
    assert seconds is None or seconds >= 0
    assert pdf_pages(head) is None


def test_audio_says_its_length() -> None:
    """WAV by its byte rate, MP3 by its bit rate behind an ID3 tag; other kinds do not."""
    sound = wav(2.5)
    mp3 = b"ID3\x04\x00\x00\x00\x00\x00\x0a" + b"\0" * 10 + b"\xff\xfb\x90\x00"

    assert audio_seconds(sound, len(sound)) == pytest.approx(2.5, abs=0.01)
    assert audio_seconds(mp3, 20 + 160_000) == pytest.approx(10.0)
    assert audio_seconds(b"\xff\xf3\x40\x00", 40_000) == pytest.approx(10.0)
    assert audio_seconds(b"OggS" + b"\0" * 60, 5000) is None


def test_pages_are_counted_where_they_are_plain() -> None:
    """Page objects count, the page tree does not; a compressed file has unknown pages."""
    plain = b"%PDF-1.4\n1 0 obj<</Type/Pages/Count 2>>\n<</Type /Page>>\n<</Type/Page/Parent 1 0 R>>"

    assert pdf_pages(plain) == 2
    assert pdf_pages(b"%PDF-1.7 /ObjStm") is None
    assert pdf_pages(b"/Type /Page") is None


@given(st.binary(max_size=200))
def test_the_size_of_base64_is_known_without_decoding(data: bytes) -> None:
    """Padding is not data."""
    text = base64.b64encode(data).decode()

    assert decoded_size(text) == len(data)
    assert head_bytes(text) == data
    assert head_bytes(text.rstrip("=")) == data


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("data:image/png;base64,QUJD", ("image/png", "QUJD")),
        ("DATA:Image/PNG;charset=x;BASE64,QUJD", ("image/png", "QUJD")),
        ("data:,hello", ("", "")),
        ("https://example.test/a.png", None),
        ("data:" + "x" * 5000, None),
        ("", None),
    ],
)
def test_a_data_url_is_split(url: str, parts: tuple[str, str] | None) -> None:
    """Media type and base64 come apart; other URLs are not data."""
    assert split_data_url(url) == parts


@pytest.mark.parametrize("text", ["A", "é" * 9, "\ud800", "===="])
def test_what_is_no_base64_gives_no_bytes(text: str) -> None:
    """Damaged base64 is empty, not an error."""
    assert head_bytes(text) == b""
