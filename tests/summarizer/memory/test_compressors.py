"""Levels: each shorter than the one above, what is kept first, and summarizers of the user's own."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from summarizer.memory import CompressorRegistry, Level, Modality, Page, TextCompressor, WorkingSetConfig
from tests.summarizer.memory.paged import IMAGE, WORDS, contents, memory

LONG = f"{WORDS[:600]} The user must never be called before 9:00. {WORDS[600:]}"


@settings(max_examples=60, deadline=None)
@given(content=contents)
def test_a_lower_level_is_never_larger(content: Any) -> None:
    """Tokens fall or stay from level to level, for any page."""
    vm = memory()
    tokens = vm.tokens(vm.create_page(content))

    assert list(tokens.values()) == sorted(tokens.values(), reverse=True)


def test_what_binds_is_kept_first() -> None:
    """A constraint in the middle of a long page stands in its abstract; gaps are marked."""
    vm = memory()
    page = vm.create_page(LONG)
    reduced, abstract = vm.text(page, Level.REDUCED), vm.text(page, Level.ABSTRACT)

    assert "must never be called before 9:00" in reduced
    assert "must never be called before 9:00" in abstract
    assert abstract.count("[...]") >= 2
    assert len(abstract) <= 320
    assert len(reduced) <= 0.4 * len(LONG)


def test_a_structured_page_keeps_its_shape() -> None:
    """Reduced is JSON still, with long lists cut and counted; abstract names keys and sizes."""
    vm = memory()
    value = {"items": [{"sku": f"A-{n}", "note": "x" * 200} for n in range(40)], "total": 40}
    page = vm.create_page(value)
    reduced = json.loads(vm.text(page, Level.REDUCED))

    assert page.modality is Modality.STRUCTURED
    assert json.loads(page.text) == value
    assert (len(reduced["items"]), reduced["items"][-1], reduced["total"]) == (4, "and 37 more", 40)
    assert vm.text(page, Level.ABSTRACT) == "{items: [40 x {sku, note}], total: 40}"


def test_a_medium_is_shortened_to_its_caption() -> None:
    """Below full there are no pixels; without a caption it is named."""
    vm = memory()
    captioned, bare = vm.create_page(IMAGE, caption="A floor plan."), vm.create_page(IMAGE)

    assert vm.text(captioned, Level.REDUCED) == "A floor plan."
    assert vm.text(bare, Level.REDUCED) == "image, no caption"
    assert vm.tokens(captioned)[Level.REDUCED] < vm.tokens(captioned)[Level.FULL]


def test_secrets_do_not_pass_into_shorter_levels() -> None:
    """A derived text is redacted; the original is what it is."""
    vm = memory()
    page = vm.create_page(f"Use api_key=abcdef123456 please. {WORDS}")

    assert "abcdef123456" in page.text
    assert "abcdef123456" not in "".join(vm.text(page, level) for level in list(Level)[1:])


def say(text: str) -> str:
    assert "part P-" in text
    return "Parts and their halls."


async def say_later(text: str) -> str:
    return say(text)


def promise(text: str) -> Any:
    return say_later(text)


@pytest.mark.parametrize("write", [say, say_later, promise])
async def test_a_summarizer_of_the_users_writes_abstracts(write: Callable[[str], Any]) -> None:
    """Sync or async: its text is shown where a page is shown as ABSTRACT, and crosses a restart."""
    registry = CompressorRegistry.default(summarize_fn=write)
    config = WorkingSetConfig(max_l0_tokens=1500, protected_turns=0)
    vm = memory(config=config, compressor_registry=registry)
    for n in range(6):
        await vm.add_to_working_set(vm.create_page(f"{n} {WORDS[:900]}", pinned=n == 0))
    message = vm.build_context()["developer_message"]
    again = type(vm).restore(vm.snapshot(), config=config).build_context(new_turn=False)["developer_message"]

    assert "Parts and their halls." in message
    assert "Parts and their halls." in again


@pytest.mark.parametrize("answer", ["", "   ", None, 7, WORDS * 2, RuntimeError("down")])
async def test_a_summarizer_that_fails_costs_only_its_text(answer: Any) -> None:
    """It raises, says nothing, no text, or more than it was given: the rules' text stands."""

    def write(_: str) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    vm = memory(compressor_registry=CompressorRegistry.default(summarize_fn=write))
    page = vm.create_page(WORDS)
    await vm.handle_tool_call("page_fault", {"page_id": page.id, "level": "abstract"})

    assert vm.text(page, Level.ABSTRACT) == TextCompressor().compress(page, Level.ABSTRACT)


class Shout:
    """A compressor of the user's."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def compress(self, page: Page, level: Level) -> str:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_a_compressor_of_the_users_serves_its_modality() -> None:
    """Registered for text it shortens text; one that fails is stood in for by the rules."""
    for answer, expected in (("PARTS", "PARTS"), (None, None), (KeyError("x"), None)):
        registry = CompressorRegistry.default()
        registry.register(Modality.TEXT, Shout(answer))
        vm = memory(compressor_registry=registry)
        text = vm.text(vm.create_page(WORDS), Level.REDUCED)

        assert text == expected or (expected is None and text.startswith("Sentence 1"))
