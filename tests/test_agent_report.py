"""The report on recorded runs counts what is there: the runs are written by hand, so that it is known."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import agent_runs
from benchmarks.__main__ import main
from benchmarks.agent_report.declared import is_failure, spec_of
from benchmarks.agent_report.learning import learn
from benchmarks.agent_report.recordings import Run, load
from benchmarks.agent_report.saving import references
from benchmarks.agent_report.watching import replays, watch
from benchmarks.harness import Result


def run_of(*calls: tuple[str, dict[str, Any], str], user: str = "Order W-17, please.") -> Run:
    messages: list[dict[str, Any]] = [{"role": "user", "content": user}]
    for i, (name, arguments, answer) in enumerate(calls):
        function = {"name": name, "arguments": json.dumps(arguments)}
        messages.append({"role": "assistant", "tool_calls": [{"id": f"x{i}", "function": function}]})
        messages.append({"role": "tool", "tool_call_id": f"x{i}", "content": answer})
    return Run("r", "test shop", 1.0, messages)


READ = ("get_order", {"order_id": "W-17"}, '{"total": 30}')
WRITE = ("update_order", {"order_id": "W-17"}, "ok")


def test_a_read_that_comes_again_is_replayed_until_something_is_written() -> None:
    """The second read is replayed rightly, the third runs, since a write lies before it."""
    found = replays(run_of(READ, READ, WRITE, READ))

    assert found == [found[0]]
    assert (found[0].call.index, found[0].rightly) == (1, True)


def test_a_replay_that_differs_from_the_recording_is_counted_as_wrong() -> None:
    """What changed without a write that the guard could see shows up as a wrong replay."""
    found = replays(run_of(READ, (READ[0], READ[1], '{"total": 31}')))

    assert [replay.rightly for replay in found] == [False]


def test_calls_of_one_message_run_one_after_another() -> None:
    """An argument may come from the answer to a call of the same message: merged recordings need it."""
    first = {"id": "a", "function": {"name": "get_user", "arguments": "{}"}}
    second = {"id": "b", "function": {"name": "get_order", "arguments": '{"order_id": "W-4711"}'}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [first, second]},
        {"role": "tool", "tool_call_id": "b", "content": "{}"},
        {"role": "tool", "tool_call_id": "a", "content": '{"orders": ["W-4711"]}'},
    ]

    calls = watch(Run("r", "test", None, messages)).calls

    assert [seen.ungrounded for seen in calls] == [False, False]


def test_an_argument_from_nowhere_is_seen() -> None:
    """An id that nobody mentioned makes its call ungrounded."""
    calls = watch(run_of(READ, ("get_order", {"order_id": "W-4711"}, "Error: no such order"))).calls

    assert [(seen.ungrounded, seen.failed) for seen in calls] == [(False, False), (True, True)]


def test_a_loop_is_listed_with_its_run_and_call() -> None:
    """The fourth equal call is nudged, the sixth blocked, the ninth stopped, whatever the agent then does."""
    calls = watch(run_of(*[("run", {"command": "make"}, "done, nothing was changed at all")] * 9)).calls

    found = [(seen.call.index, seen.loop.action, seen.loop.should_stop) for seen in calls if seen.loop]
    assert [found[0], found[2], found[5]] == [(3, "warn", False), (5, "block", False), (8, "block", True)]


def test_copies_that_are_longer_than_a_reference_are_counted_in_tokens() -> None:
    """A list passed on whole is one value; its tokens less those of `$v1.items` are spared."""
    items = [f"a long description of item {i}" for i in range(10)]
    spared = references(
        watch(run_of(("get_a", {}, json.dumps({"items": items})), ("send_b", {"x": items}, "ok")))
    )

    assert (spared.values, spared.copied, spared.shortened) == (1, 1, 1)
    assert spared.saved_tokens > len(json.dumps(items)) // 4 - 5


async def test_errors_and_second_tries_are_counted_across_runs() -> None:
    """An error of an earlier run counts as seen before; one of the same run does not."""
    failed = ("book_x", {"user_id": "u_1", "amount": 5}, "Error: total is 7, but paid 5")
    mended = ("book_x", {"user_id": "u_1", "amount": 7}, "ok")
    runs = [watch(run_of(failed, failed, mended)), watch(run_of(failed, mended))]
    for i, watched in enumerate(runs):
        object.__setattr__(watched.run, "run_id", f"r{i}")

    learned = await learn(runs)

    assert (learned.errors, learned.seen_before) == (3, 1)
    assert [change.path for _, _, fix in learned.fixes for change in fix.changes] == ["amount"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Error: no such order", True),
        ("<returncode>2</returncode>\nmake: ***", True),
        ("<returncode>0</returncode>\nError: in a log", False),
        ("Errors were fixed", False),
        ('{"error": null}', False),
    ],
)
def test_failures_are_told_by_how_an_answer_begins(text: str, expected: bool) -> None:
    """The table of failures, by example."""
    assert expected is is_failure(text)


def test_a_tool_in_neither_table_is_of_unknown_nature() -> None:
    """Only names of known beginnings are declared."""
    assert [spec_of(name).read_only for name in ("get_a", "send_a", "bash")] == [True, False, None]


def test_a_folder_of_plain_and_gzipped_files_is_read(tmp_path: Path) -> None:
    """Files are read in the order of their names."""
    line = json.dumps({"run_id": "a", "domain": "d", "messages": []})
    (tmp_path / "2.jsonl").write_text(line)
    with gzip.open(tmp_path / "1.jsonl.gz", "wt") as file:
        file.write(line.replace('"a"', '"b"'))

    assert [run.run_id for run in load(tmp_path)] == ["b", "a"]


def test_what_is_no_recording_is_refused_by_line(tmp_path: Path) -> None:
    """The error names the file and the line."""
    (tmp_path / "x.jsonl").write_text('{"run_id": "a", "messages": []}\n{"messages": []}\n')

    with pytest.raises(ValueError, match=r"line 2 of 'x\.jsonl'"):
        load(tmp_path)


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    """The error says what was looked for."""
    with pytest.raises(FileNotFoundError, match=r"no \.jsonl"):
        load(tmp_path)


def test_data_is_for_the_report_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """`--data` beside another benchmark is a mistake, and said to be."""
    with pytest.raises(SystemExit):
        main(["imports", "--data", "runs.jsonl"])
    assert "is for agent_runs" in capsys.readouterr().err


async def test_the_sample_holds_what_the_report_shows() -> None:
    """Each list of the report has an example in the sample, but for replays that are wrong."""
    result: Result = await agent_runs.run()

    empty = [title for title, rows in result.lists.items() if not rows]
    assert empty == ["replays that differ from the recording"]
