"""Facts that stand at the head of a media file: pixels, seconds, pages. Pure; reads a few kilobytes.

No value here is a guess: what the bytes do not say is `None`.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from typing import Final

__all__ = ["audio_seconds", "decoded_size", "head_bytes", "image_size", "pdf_pages", "split_data_url"]

_HEAD: Final = 256 * 1024
"""Characters of base64 decoded to find a size: a JPEG may carry profiles and a thumbnail before its frame."""
_DATA_URL: Final = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)
_PDF_PAGE: Final = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xDA)})
"""JPEG markers without a length."""
_JPEG_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that open a frame and carry its size."""


def split_data_url(url: str) -> tuple[str, str] | None:
    """Media type (lower case) and base64 text of a data URL; `None` for any other URL.

    Data that is percent-encoded instead of base64 gives an empty text.
    """
    match = _DATA_URL.match(url, 0, 1024)
    if match is None:
        return None
    is_base64 = "base64" in match[2].lower()
    return match[1].strip().lower(), url[match.end() :] if is_base64 else ""


def decoded_size(data: str) -> int:
    """Bytes that base64 text stands for, without decoding it."""
    return max(0, len(data) * 3 // 4 - data.count("=", max(0, len(data) - 2)))


def head_bytes(data: str, characters: int | None = _HEAD) -> bytes:
    """The first bytes of base64 text (all of them for `None`); empty if it is no base64."""
    text = data if characters is None else data[: characters - characters % 4]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""


def image_size(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels from the first bytes of a PNG, GIF, WebP or JPEG."""
    try:
        size = _image_size(head)
    except (IndexError, struct.error):
        return None
    return size if size and min(size) > 0 else None


def _image_size(head: bytes) -> tuple[int, int] | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", head, 16)
    elif head[:6] in (b"GIF87a", b"GIF89a"):
        width, height = struct.unpack_from("<HH", head, 6)
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp_size(head)
    elif head.startswith(b"\xff\xd8"):
        return _jpeg_size(head)
    else:
        return None
    return width, height


def _webp_size(head: bytes) -> tuple[int, int] | None:
    form = head[12:16]
    if form == b"VP8X":
        if len(head) < 30:
            return None
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if form == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    if form == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 4 <= len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        elif marker in _JPEG_FRAME:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        else:
            at += 2 + int(struct.unpack_from(">H", head, at + 2)[0])
    return None


def audio_seconds(head: bytes, size: int) -> float | None:
    """Length of a WAV or constant-rate MP3 of `size` bytes; `None` for other kinds."""
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        rate_at = head.find(b"fmt ") + 16
        if rate_at < 16 or rate_at + 4 > len(head):
            return None
        (rate,) = struct.unpack_from("<I", head, rate_at)
        return size / rate if rate else None
    return _mp3_seconds(head, size)


_MP3_KBITS: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBITS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def _mp3_seconds(head: bytes, size: int) -> float | None:
    at = 0
    if head[:3] == b"ID3" and len(head) >= 10:
        at = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    if at + 4 > len(head) or head[at] != 0xFF or head[at + 1] & 0xE6 != 0xE2:  # Frame sync, layer III.
        return None
    rates = _MP3_KBITS if head[at + 1] & 0x18 == 0x18 else _MP3_KBITS_2
    index = head[at + 2] >> 4
    kbits = rates[index] if index < len(rates) else 0
    return (size - at) * 8 / (kbits * 1000) if kbits else None


def pdf_pages(data: bytes) -> int | None:
    """Pages of a PDF whose page objects are not compressed; `None` where they cannot be counted."""
    if b"%PDF-" not in data[:1024]:
        return None
    return len(_PDF_PAGE.findall(data)) or None
