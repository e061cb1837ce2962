from __future__ import annotations

import base64
from typing import Any

import pytest

from summarizer.meter import counter_named, image_tokens, message_tokens
from summarizer.meter.images import page_tokens
from summarizer.meter.media import media_tokens

from .test_headers import png, wav

COUNT = counter_named("o200k_base").count
PNG = base64.b64encode(png(1024, 1024)).decode()
PNG_URL = f"data:image/png;base64,{PNG}"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": PNG_URL}},
        {"type": "image_url", "image_url": PNG_URL},
        {"type": "input_image", "image_url": PNG_URL, "detail": "auto"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"inline_data": {"mime_type": "image/png", "data": PNG}},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
    ],
)
def test_an_image_of_every_dialect_is_priced_by_its_size(part: dict[str, Any]) -> None:
    """The same picture costs the same, however it is wrapped."""
    for model in ("gpt-4o", "claude-opus-4-8", "gemini-2.5-pro"):
        assert media_tokens(part, model, COUNT) == image_tokens(model, (1024, 1024))


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.test/cat.png"}},
        {"type": "input_image", "file_id": "file-123"},
        {"type": "image", "source": {"type": "url", "url": "https://example.test/cat.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/svg+xml;base64," + b64(b"<svg/>")}},
        {"type": "image_url"},
        {"type": "image_url", "image_url": 7},
    ],
)
def test_an_image_of_unknown_size_is_priced_at_the_most(part: dict[str, Any]) -> None:
    """A reference, a vector drawing or a damaged part costs the family's upper bound; nothing is fetched."""
    assert media_tokens(part, "gpt-4o", COUNT) == image_tokens("gpt-4o", None)


def test_the_detail_of_an_image_is_honoured() -> None:
    """`low` is cheap in both dialects of OpenAI."""
    for part in (
        {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "low"}},
        {"type": "input_image", "image_url": PNG_URL, "detail": "low"},
    ):
        assert media_tokens(part, "gpt-4o", COUNT) == 85


def test_audio_is_priced_by_its_seconds() -> None:
    """Ten tokens a second on OpenAI, 32 on Gemini; unknown codecs by the bytes of the thinnest one."""
    spoken = {"type": "input_audio", "input_audio": {"data": b64(wav(10)), "format": "wav"}}
    unknown = {"type": "input_audio", "input_audio": {"data": b64(b"OggS" + b"\0" * 19_996), "format": "ogg"}}

    assert media_tokens(spoken, "gpt-4o-audio-preview", COUNT) == 101  # The header's 44 bytes round up.
    assert media_tokens(spoken, "gemini-2.5-pro", COUNT) == 321
    assert media_tokens(unknown, "gpt-4o-audio-preview", COUNT) == 100
    assert media_tokens({"type": "audio", "audio": {"id": "audio_1"}}, "gpt-4o-audio-preview", COUNT) == 600


def test_a_file_is_priced_by_its_pages() -> None:
    """Plain pages are counted, compressed ones bounded by bytes, a reference is one page."""
    two = b"%PDF-1.4 <</Type /Page>> <</Type /Page>>"
    page, name = page_tokens("claude-opus-4-8"), COUNT("a.pdf")
    url = "data:application/pdf;base64," + b64(two)

    for part, tokens in (
        ({"type": "file", "file": {"file_data": url, "filename": "a.pdf"}}, 2 * page + name),
        ({"type": "input_file", "file_data": url, "filename": "a.pdf"}, 2 * page + name),
        (
            {
                "type": "document",
                "title": "a.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": b64(two)},
            },
            2 * page + name,
        ),
        ({"type": "file", "file": {"file_id": "file-1"}}, page),
        ({"type": "file", "file": {"file_data": b64(b"%PDF-1.7" + b"\0" * 20_000)}}, 3 * page),
    ):
        assert media_tokens(part, "claude-opus-4-8", COUNT) == tokens


def test_a_text_file_is_counted_by_its_text() -> None:
    """Text behind base64, and Anthropic's plain text sources, weigh their words."""
    encoded = {"type": "file", "file": {"file_data": "data:text/plain;base64," + b64(b"hello world")}}
    plain = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "hello world"},
    }
    blocks = {
        "type": "document",
        "source": {"type": "content", "content": [{"type": "text", "text": "hello world"}]},
    }

    assert [media_tokens(part, "claude-opus-4-8", COUNT) for part in (encoded, plain, blocks)] == [2, 2, 2]


def test_video_is_never_free() -> None:
    """A referenced video counts as a minute, a given one by its bytes."""
    assert (
        media_tokens({"type": "video_url", "video_url": {"url": "https://example.test/a.mp4"}}, None, COUNT)
        == 18_000
    )
    assert (
        media_tokens({"inline_data": {"mime_type": "video/mp4", "data": b64(b"\0" * 31_250)}}, None, COUNT)
        == 300
    )


@pytest.mark.parametrize(
    "part", [{"type": "text", "text": "x"}, {}, {"type": None}, {"type": ["image"]}, {"type": "tool_use"}]
)
def test_other_parts_are_not_media(part: dict[str, Any]) -> None:
    """Text and tool parts are left to the text counter."""
    assert media_tokens(part, None, COUNT) is None


def test_media_inside_a_tool_result_is_priced() -> None:
    """A screenshot that a tool returns weighs what it weighs in a user's message."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    message = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [image]}]}

    assert message_tokens(message, counter_named("o200k_base"), "claude-opus-4-8") == 3 + 1 + 1369
