"""Reading transcripts: the forms that people keep, and what a wrong file says."""

import json
from pathlib import Path

import pytest

from summarizer.formats import InvalidTranscript, parse_transcripts, read_transcripts

ASK = {"role": "user", "content": "one\u2028line"}
ANSWER = {"role": "assistant", "content": "yes"}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([ASK, ANSWER]),
        json.dumps([ASK, ANSWER], indent=2),
        json.dumps({"id": "x", "messages": [ASK, ANSWER]}, indent=2),
        "\n".join(json.dumps(one, ensure_ascii=False) for one in (ASK, ANSWER)),
        "\r\n\r\n".join(json.dumps(one) for one in (ASK, ANSWER)) + "\r\n",
    ],
)
def test_each_form_gives_the_same_conversation(text: str) -> None:
    """An array, an object, and a message a line hold the same messages; blank lines are nothing."""
    (transcript,) = parse_transcripts(text)

    assert transcript.messages == (ASK, ANSWER)


def test_a_conversation_a_line_gives_several() -> None:
    """Each `{"messages": [...]}` line is a conversation, with the line where it stands."""
    text = "\n".join(json.dumps({"messages": [one]}) for one in (ASK, ANSWER))

    found = parse_transcripts(text)

    assert [(one.line, one.messages) for one in found] == [(1, (ASK,)), (2, (ANSWER,))]


def test_one_message_is_a_conversation() -> None:
    """A file that holds one message object is a conversation of one."""
    assert parse_transcripts(json.dumps(ASK))[0].messages == (ASK,)


def test_the_system_prompt_is_a_leading_system_text() -> None:
    """Only a first message of the role `system` with plain text is taken as the prompt."""
    prompt = {"role": "system", "content": "Be brief."}
    parts = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}

    prompts = [
        parse_transcripts(json.dumps(it))[0].system_prompt for it in ([prompt, ASK], [ASK, prompt], [parts])
    ]

    assert prompts == ["Be brief.", None, None]


@pytest.mark.parametrize(
    ("data", "line", "part"),
    [
        (b"", None, "holds no messages"),
        (b"[]", 1, "holds no messages"),
        (b'{"messages": 3}', 1, "'messages' must be a list, got int"),
        (b'{"role":"user","content":"a"}\n{"role":\n', 2, "is no JSON"),
        (b'[{"role": "user",\n "content": }]', 2, "is no JSON"),
        (
            b'{"role":"user","content":"a"}\n{"role":"alien","content":"a"}',
            2,
            "message 2: unknown role 'alien'",
        ),
        (b'{"role":"user","content":"a"}\n{"messages":[]}', 1, "like the others"),
        (b'{"role":"user","content":"a"}\n\xff', 2, "is no UTF-8"),
        (b'[{"role": "tool", "content": "x"}]', 1, "tool_call_id"),
        (b"3", 1, "expected a message mapping"),
    ],
)
def test_a_wrong_file_names_its_line_and_the_next_step(
    tmp_path: Path, data: bytes, line: int | None, part: str
) -> None:
    """The error says which line, what is wrong there, and what to do."""
    file = tmp_path / "chat.jsonl"
    file.write_bytes(data)

    with pytest.raises(InvalidTranscript) as caught:
        read_transcripts(file)

    assert caught.value.line == line
    assert part in str(caught.value)
    assert str(file) in str(caught.value)
    assert "; " in str(caught.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    """A path that cannot be opened is an error of the same kind."""
    with pytest.raises(InvalidTranscript, match="cannot be read"):
        read_transcripts(tmp_path / "none.json")
