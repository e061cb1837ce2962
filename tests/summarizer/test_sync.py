"""The synchronous interface: the same calls, safe under threads, running loops, forks and exits."""

import asyncio
import concurrent.futures
import contextvars
import gc
import importlib.util
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.request import Request, urlopen
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

import summarizer
from guards import get_tool_state
from summarizer import SessionManagerError, SessionNotFound, sync
from summarizer.session import SessionManager as AsyncSessionManager
from summarizer.session_memory import SessionMemory
from summarizer.stores import close_default_stores, default_store
from summarizer.tool_calls import SessionTools
from tests.integrations.runtimes import needs

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """The background thread ends with each test, so that a test's stores go with it."""
    yield
    sync.close()


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sync.db"


# What is offered


def public(of: type) -> set[str]:
    return {name for name in dir(of) if not name.startswith("_")}


def test_no_public_method_is_missing() -> None:
    """Whatever `SessionManager` can do, its synchronous face can."""
    assert public(AsyncSessionManager) - public(sync.SessionManager) == set()


@pytest.mark.parametrize(
    ("original", "face", "internal"),
    [
        (SessionTools, "SessionTools", {"fold", "fresh_log", "settle", "used"}),
        (SessionMemory, "SessionMemory", {"budget", "config", "desk_of", "first_desk", "limit_answers"}),
    ],
)
def test_no_method_of_its_parts_is_missing(original: type, face: str, internal: set[str]) -> None:
    """The same holds for tools and memory, save what is the manager's own business."""
    from summarizer.sync import tools

    assert public(original) - public(getattr(tools, face)) == internal


@pytest.mark.parametrize("name", sorted({"__init__", *public(AsyncSessionManager)}))
def test_each_method_is_that_of_the_original(name: str) -> None:
    """Parameters, defaults and annotations are the original's; none of them is a coroutine function."""
    original, ours = getattr(AsyncSessionManager, name), getattr(sync.SessionManager, name)
    if isinstance(original, property):
        assert isinstance(ours, property)
        return

    assert inspect.signature(ours) == inspect.signature(original)
    assert not inspect.iscoroutinefunction(ours)


def test_each_function_is_that_of_the_original() -> None:
    """The calls of a chat endpoint and `settle` have the original's parameters and words."""
    names = [name for name in sync.__all__ if hasattr(summarizer, name) and name != "SessionManager"]
    pairs = [(getattr(sync, name), getattr(summarizer, name)) for name in names]

    assert len(names) == 7
    assert [inspect.signature(ours) == inspect.signature(theirs) for ours, theirs in pairs] == [True] * 7
    assert [ours.__doc__ for ours, _ in pairs] == [theirs.__doc__ for _, theirs in pairs]


# A script


def test_a_script_needs_no_await(store: str) -> None:
    """Recorded here and read by asynchronous code, and the other way round: one conversation."""
    session_id = sync.track_conversation("Hello", "Good day", session_id="trip", store=store)
    with sync.SessionManager("trip", store=store, system_prompt="Be kind.") as sm:
        sm.user_says("A train to Porto?")
        sm.ai_responds("The 9:15.")
        messages = sm.get_messages_for_llm()
    rows = asyncio.run(summarizer.get_conversation_history("trip", store=store))

    assert session_id == "trip"
    assert [row["content"] for row in rows] == ["Hello", "Good day", "A train to Porto?", "The 9:15."]
    assert messages[0] == {"role": "system", "content": "Be kind."}
    assert sync.get_session_stats("trip", store=store).total_messages == 4


def test_a_fork_and_a_sibling_are_synchronous_too() -> None:
    """What gives another manager gives its synchronous face, with tools of its own."""
    sm = sync.SessionManager("trip", store="memory://forks")
    sm.turn("Hello", "Good day")
    fork = sm.fork(session_id="other")
    fork.user_says("Once more")

    assert len(fork.get_conversation()) == 3
    assert len(sm.get_conversation()) == 2
    assert sm.sibling("third").user_says("x") == "third"
    assert sm.tools is sm.tools
    assert fork.tools is not sm.tools


def test_the_guard_is_current_within_the_block() -> None:
    """`with` makes the session's guard the one that `get_tool_state` gives, and puts the old one back."""
    before = get_tool_state()
    with sync.SessionManager("trip", store="memory://") as sm:
        inside = get_tool_state()

        assert inside is sm.tools.guard
    assert get_tool_state() is before


def test_virtual_memory_is_synchronous_too() -> None:
    """Pages are made and read without await; where it is switched off, that is said."""
    sm = sync.SessionManager("trip", store="memory://", enable_vm=True)
    sm.user_says("Hello")
    page = sm.vm.create_page("The hotel is B-17.")

    assert [one.id for one in sm.vm.pages() if one.id == page.id] == [page.id]
    with pytest.raises(summarizer.InvalidSetting, match="virtual memory is off"):
        _ = sync.SessionManager(store="memory://").vm


# Functions of the caller


def test_a_tool_runs_in_the_thread_that_calls(store: str) -> None:
    """So what belongs to a thread, such as a database connection, works in it; its error is a value."""
    sm = sync.SessionManager("trip", store=store)
    ran: list[threading.Thread] = []

    def look(city: str) -> str:
        ran.append(threading.current_thread())
        sm.user_says("said by the tool")  # A nested call of the interface.
        return f"{city}: sunny"

    def fail() -> None:
        raise StopIteration("no more")

    async def later(city: str) -> str:
        ran.append(threading.current_thread())
        return city

    result = sm.tools.run(look, "look", {"city": "Porto"})
    failed = sm.tools.run(fail, "fail", {})
    sm.tools.run(later, "later", {"city": "Faro"})

    assert result.result == "Porto: sunny"
    assert isinstance(failed.error, RuntimeError)
    assert isinstance(failed.error.__cause__, StopIteration)
    assert ran[0] is threading.current_thread()
    assert ran[1] is not threading.current_thread()
    assert sm.get_stats().tool_calls == 3


def test_a_tool_past_its_time_is_not_taken() -> None:
    """The call returns when the tool does, and says that its time was over."""
    sm = sync.SessionManager("trip", store="memory://")
    result = sm.tools.run(lambda: time.sleep(0.15), "slow", {}, timeout_s=0.02)

    assert isinstance(result.error, TimeoutError)


@pytest.mark.parametrize("as_coroutine", [False, True])
def test_the_model_is_called_and_recorded(as_coroutine: bool) -> None:
    """A synchronous function is called in this thread; an asynchronous one is awaited."""
    called: list[bool] = []

    def model(text: str) -> str:
        called.append(threading.current_thread() is threading.main_thread())
        return text.upper()

    async def asynchronous(text: str) -> str:
        return model(text)

    function: Callable[[str], Any] = asynchronous if as_coroutine else model
    answer, session_id = sync.track_llm_call("good morning", function, store="memory://calls")

    assert answer == "GOOD MORNING"
    assert called == [not as_coroutine]
    assert len(sync.get_conversation_history(session_id, store="memory://calls")) == 2


def test_a_model_that_fails_leaves_the_question() -> None:
    """The function's error passes as it is, with the line that raised it; the user's message is kept."""

    def model(_: str) -> str:
        raise ConnectionError("no route")

    with pytest.raises(ConnectionError, match="no route") as caught:
        sync.track_llm_call("Hello", model, session_id="trip", store="memory://failing")

    assert "in model" in "".join(traceback.format_exception(caught.value))
    rows = sync.get_conversation_history("trip", store="memory://failing")
    assert [row["content"] for row in rows] == ["Hello"]


# Errors


def test_errors_pass_with_their_tracebacks() -> None:
    """An error names the line that raised it and the line that called."""
    with pytest.raises(SessionNotFound) as caught:
        sync.SessionManager("nobody", store="memory://").get_messages_for_llm()

    shown = "".join(traceback.format_exception(caught.value))
    assert isinstance(caught.value, SessionManagerError)
    assert "test_sync.py" in shown
    assert "summarizer/access.py" in shown.replace(os.sep, "/")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_tool_ends_the_call(kind: type[BaseException]) -> None:
    """It passes through; the guard knows the call as cancelled, and the next call finds all in order."""
    sm = sync.SessionManager("trip", store="memory://")

    def interrupted() -> None:
        raise kind

    with pytest.raises(kind):
        sm.tools.run(interrupted, "wait", {})

    assert sm.tools.guard.last_finished is not None
    assert sm.tools.guard.last_finished.outcome.value == "cancelled"
    assert sm.tools.run(lambda: 3, "three", {}).result == 3


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_coroutine_ends_no_other_call(kind: type[BaseException]) -> None:
    """Raised on the background thread it reaches the caller, and the thread goes on."""

    async def interrupted() -> None:
        await asyncio.sleep(0)
        raise kind

    with pytest.raises(kind):
        sync.run(interrupted())

    assert sync.run(asyncio.sleep(0, "on")) == "on"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupt_while_waiting_cancels_the_call() -> None:
    """Ctrl+C reaches a thread that waits; the coroutine is cancelled and may tidy up."""
    seen: list[str] = []
    main = threading.get_ident()

    async def waiting() -> None:
        signal.pthread_kill(main, signal.SIGINT)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            seen.append("tidied up")

    gc.disable()  # An interrupt within a callback of the collector is ignored by Python.
    try:
        with pytest.raises(KeyboardInterrupt):
            sync.run(waiting())
    finally:
        gc.enable()

    assert seen == ["tidied up"]


def test_a_call_that_closing_cut_is_an_ordinary_error() -> None:
    """What is still under way after the wait is cancelled; its caller gets an `Exception`, and may go on."""
    began = threading.Event()

    async def endless() -> None:
        began.set()
        await asyncio.Event().wait()

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(sync.run, endless())
        began.wait(10)
        sync.close(wait_s=0.05)
        with pytest.raises(concurrent.futures.CancelledError):
            call.result(10)

    assert sync.run(asyncio.sleep(0, "anew")) == "anew"


# Context, loops and threads

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


def test_context_variables_are_carried() -> None:
    """A coroutine and a tool see the caller's context; what they set stays with them."""

    async def look() -> str:
        seen = user.get()
        user.set("changed")
        return seen

    token = user.set("ana")
    try:
        sm = sync.SessionManager("trip", store="memory://")
        seen = sync.run(look()), sm.tools.run(user.get, "who", {}).result

        assert seen == ("ana", "ana")
        assert user.get() == "ana"
    finally:
        user.reset(token)


async def test_a_call_inside_a_running_loop_blocks_that_thread_alone(store: str) -> None:
    """From a coroutine the call works: this loop stands still meanwhile, and others do not."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.01)
    before = ticks
    sync.SessionManager("trip", store=store).turn("Hello", "Good day")

    assert ticks == before
    assert await AsyncSessionManager("trip", store=store).get_messages_for_llm()
    assert ticks > before
    ticking.cancel()


def test_a_call_that_would_wait_for_itself_is_refused() -> None:
    """A coroutine that `run` runs may not call the synchronous interface: it is told to await."""

    async def nested() -> int:
        return sync.run(asyncio.sleep(0, 1))

    async def closing() -> None:
        sync.close()

    with pytest.raises(RuntimeError, match="await the asynchronous call there"):
        sync.run(nested())
    with pytest.raises(RuntimeError, match="runs"):
        sync.run(closing())


def test_threads_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where gevent has replaced threads, a call says so; it would hang."""
    monkey = ModuleType("gevent.monkey")
    monkey.is_module_patched = lambda name: name == "threading"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)

    with pytest.raises(RuntimeError, match="gthread"):
        sync.SessionManager("trip", store="memory://").user_says("Hello")


def test_twenty_threads_lose_nothing(store: str) -> None:
    """20 threads of 20 turns each, through one manager and through their own: every turn once, in order."""
    shared = sync.SessionManager("shared", store=store, token_threshold=2000)

    def talk(thread: int) -> None:
        own = sync.SessionManager(f"own-{thread}", store=store)
        for turn in range(20):
            (shared if turn % 2 else own).turn(f"{thread}/{turn}", f"answer {thread}/{turn}")

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(talk, range(20)))
    sync.settle()

    rows = shared.get_conversation()
    asked = [row["content"] for row in rows if row["role"] == "user"]
    assert sorted(asked) == sorted(f"{thread}/{turn}" for thread in range(20) for turn in range(1, 20, 2))
    assert [row["content"] for row in rows if row["role"] == "assistant"] == [f"answer {a}" for a in asked]
    for thread in range(20):
        own = [text for text in asked if text.startswith(f"{thread}/")]
        assert own == [f"{thread}/{turn}" for turn in range(1, 20, 2)]
        assert sync.get_session_stats(f"own-{thread}", store=store).total_messages == 20


async def test_shared_stores_that_are_closed_are_opened_anew(store: str) -> None:
    """Closing them at the end of a program or server takes nothing away from a later call."""
    first = default_store(store)
    await AsyncSessionManager("trip", store=store).user_says("Hello")
    await close_default_stores()

    assert default_store(store) is not first
    assert len(await AsyncSessionManager("trip", store=store).get_conversation()) == 1


def test_one_thread_serves_all_callers() -> None:
    """However many threads call, one thread works, and closing ends it."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: sync.run(asyncio.sleep(0.01)), range(32)))
    names = [thread.name for thread in threading.enumerate()]
    sync.close()

    assert names.count("longsplice-sync") == 1
    assert "longsplice-sync" not in [thread.name for thread in threading.enumerate()]


# Processes


def script(text: str, *arguments: str, within_s: float = 60.0) -> tuple[str, float]:
    """Run a script with warnings as errors; what it printed, and seconds. Any noise fails the test."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text, *arguments],
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=within_s,
    )

    assert done.stderr == ""
    return done.stdout, time.monotonic() - began


SUMMARIZING = """
import sys, time
from summarizer.sync import SessionManager, background

background.EXIT_WAIT_S = float(sys.argv[3])

def summarize(messages):
    time.sleep(float(sys.argv[2]))
    return "They spoke of trains to Porto and of the hotel B-17."

sm = SessionManager("trip", store=sys.argv[1], token_threshold=400, summarizer=summarize)
for n in range(12):
    sm.turn(f"Question {n} about the trains to Porto, and the hotel B-17?", "A long answer. " * 8)
"""


def test_an_exit_waits_for_the_summary(store: str) -> None:
    """A script that just ends leaves nothing due and says nothing: the child session is there."""
    script(SUMMARIZING, store, "0.3", "10")
    segments = asyncio.run(AsyncSessionManager("trip", store=store).segments())

    assert len(segments) > 1


def test_an_exit_is_quiet_where_python_has_no_early_hook() -> None:
    """`threading._register_atexit` is private: without it the hooks of `atexit` do, in the right order."""
    printed, _ = script(WITHOUT_HOOK)

    assert printed == "2\n"


WITHOUT_HOOK = """
import concurrent.futures.thread, threading

del threading._register_atexit
from summarizer.sync import SessionManager

sm = SessionManager("trip", store="memory://")
sm.turn("A train to Porto?", "The 9:15.")
print(sm.get_stats().total_messages)
"""


def test_an_exit_does_not_hang(store: str) -> None:
    """A summary that takes longer than the deadline is left due, quietly; all messages are there."""
    turns, seconds = script(HANGING, store)
    stats = asyncio.run(summarizer.get_session_stats("trip", store=store))

    assert seconds < 10
    assert stats.total_messages == 2 * int(turns)
    assert stats.session_segments == 1


HANGING = """
import asyncio, sys
from summarizer import Policy
from summarizer.sync import SessionManager, background

background.EXIT_WAIT_S = 0.3
asked = []

class Never:
    async def summarize(self, request):
        asked.append(request)
        await asyncio.Event().wait()

policy = Policy(token_threshold=400, hard_factor=100)
sm = SessionManager("trip", store=sys.argv[1], policy=policy, summarizer=Never())
turns = 0
while not asked:
    sm.turn(f"Question {turns} about the trains to Porto?", "A long answer. " * 8)
    turns += 1
print(turns)
"""

FORKING = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 and later warn of any fork beside threads.
from summarizer.sync import SessionManager

def talk(name, turns):
    sm = SessionManager("trip", store=sys.argv[1])
    for n in range(turns):
        sm.turn(f"{name}/{n}", "Yes.")

talk("parent", 3)
children = []
for name in ("first", "second"):
    pid = os.fork()
    if pid == 0:
        talk(name, 5)
        if name == "first":
            sys.exit(0)   # Leaves as a script does, through all exit handlers.
        os._exit(0)       # Leaves as a worker of multiprocessing does.
    children.append(pid)
talk("parent again", 5)
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_worker_begins_anew(store: str) -> None:
    """Parent and children go on after a fork, each with a thread of its own; nothing is lost."""
    printed, _ = script(FORKING, store)
    rows = asyncio.run(summarizer.get_conversation_history("trip", store=store))
    asked = [row["content"] for row in rows if row["role"] == "user"]

    assert printed == "[0, 0]\n"
    expected = [("parent", 3), ("first", 5), ("second", 5), ("parent again", 5)]
    assert sorted(asked) == sorted(f"{name}/{n}" for name, turns in expected for n in range(turns))


FORKING_EARLY = """
import os, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from summarizer.meter import prices, tables
from summarizer.sync import SessionManager

held = threading.Event()

def hold():
    with tables._finding, tables._loading, prices._loading:
        held.set()
        time.sleep(1)

holder = threading.Thread(target=hold)
holder.start()
held.wait()
pid = os.fork()
if pid == 0:
    SessionManager("trip", store="memory://", model="gpt-4o").turn("Hello", "Good day")
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
holder.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_tables_are_loaded_hangs_nothing() -> None:
    """What another thread held at the fork is free in the child."""
    assert script(FORKING_EARLY, within_s=30)[0] == "0\n"


# Servers


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serving(application: Any) -> Iterator[str]:
    """A WSGI application behind a real socket, a thread for each request; its address."""
    from socketserver import ThreadingMixIn

    class Server(ThreadingMixIn, WSGIServer):
        request_queue_size = 64

    with make_server("127.0.0.1", 0, application, Server, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def ask(url: str, body: Any = None, user: str = "ana") -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"X-User": user, "Content-Type": "application/json"}
    with urlopen(Request(url, data, headers), timeout=60) as answer:
        return json.load(answer)


def test_a_wsgi_application_loses_nothing(store: str) -> None:
    """A plain WSGI application, as Django is one: a thread for each request, no turn lost."""

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        text = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        tip = sync.track_conversation(text, "Yes.", session_id="trip", store=store, token_threshold=500)
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(tip).encode()]

    with serving(application) as address, ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda n: ask(address, f"Question {n}: which train goes to Porto?"), range(40)))
    sync.settle()
    rows = sync.get_conversation_history("trip", store=store)

    assert sorted(row["content"] for row in rows if row["role"] == "user") == sorted(
        f"Question {n}: which train goes to Porto?" for n in range(40)
    )


@needs("flask")
def test_the_flask_example_loses_nothing(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 requests of 4 users over Werkzeug's threaded server; a foreign id is answered as a missing one."""
    from werkzeug.serving import make_server as make_threaded

    monkeypatch.setenv("LONGSPLICE_STORE", store)
    monkeypatch.setenv("CHAT_THRESHOLD", "500")
    server = make_threaded("127.0.0.1", 0, example().app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/chats"
    users = ["ana", "ben", "eva", "tom"]
    try:
        with ThreadPoolExecutor(10) as pool:
            said = list(
                pool.map(lambda n: ask(f"{address}/trip", {"text": f"No. {n}"}, users[n % 4]), range(40))
            )
        chats = {user: ask(f"{address}/trip", user=user) for user in users}
        foreign, missing = (refusal(f"{address}/{chat}", "eve") for chat in ("trip", "none"))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert [answer["session_id"].partition("~")[0] for answer in said] == ["trip"] * 40
    for k, user_name in enumerate(users):
        rows = chats[user_name]
        assert sorted(row["content"] for row in rows if row["role"] == "user") == sorted(
            f"No. {n}" for n in range(k, 40, 4)
        )
        assert len(rows) == 20
    assert foreign[0] == missing[0] == 404
    assert foreign[1].replace("trip", "none") == missing[1]


def refusal(url: str, user_name: str) -> tuple[int, str]:
    from urllib.error import HTTPError

    with pytest.raises(HTTPError) as caught:
        ask(url, user=user_name)
    with caught.value as answer:
        return answer.code, answer.read().decode()


def example() -> Any:
    spec = importlib.util.spec_from_file_location("flask_chat", ROOT / "examples" / "flask_chat.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
