"""The plan of the house, read from the source: who may import whom, and how large a thing may grow."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("summarizer", "guards", "procedural")

ROOMS = (
    "errors",
    "config",
    "telemetry",
    "messages",
    "events",
    "meter",
    "stores",
    "standing",
    "ancestry",
    "units",
    "economy",
    "policy",
    "cost_policy",
    "summary",
    "recall",
    "context",
    "memory",
    "dialects",
    "incoming",
    "recording",
    "stats",
    "state",
    "handover",
    "retention",
    "segmentation",
    "clearing",
    "conversation",
    "gauge",
    "access",
    "recalling",
    "session_memory",
    "view_changes",
    "viewing",
    "tool_calls",
    "writing",
    "forking",
    "session",
    "agents",
    "tracking",
    "sync",
    "formats",
    "integrations",
    "server",
    "cli",
    "testing",
)
"""The rooms of `summarizer` from the ground up: a room imports only from rooms above it in this list."""

DOORS = {
    ("cli", "testing"): "the demo starts the local model with the command that users' tests have",
}
"""Imports against the order, each with its reason."""

MEETING_ROOMS = frozenset({"tool_calls", "stores", "sync", "integrations"})
"""The rooms in which the conversation may know `guards` and `procedural`."""

FORBIDDEN_NAMES = frozenset({"utils", "helpers", "common", "base", "managers"})

HEAVY = (
    "litellm",
    "openai",
    "redis",
    "sqlite3",
    "structlog",
    "tenacity",
    "tiktoken",
    "tokenizers",
    "aiohttp",
    "httpx",
)
"""What no import of ours may bring along; each is imported at its first use."""

MODULE_LINES = 400
FUNCTION_LINES = 60
COMPLEXITY = 10

LARGE: dict[str, int] = {
    # Two thirds of these are the docstrings and signatures of the calls that users make.
    "guards/guard.py": 623,
    "summarizer/session.py": 790,
    "summarizer/tool_calls/session_tools.py": 407,
    # One line an argument, and one a part of the house.
    "summarizer/session.py::SessionManager.__init__": 71,
}
"""Ratchet: `path` (lines), `path::function` (lines) or `path::function complexity`, and what it has today."""

BROAD_EXCEPTS: dict[str, str] = {
    "guards/calls.py::_dumped": "`model_dump` of the caller's own class",
    "guards/checks/permission.py::PermissionCheck._ask_hook": "the host's own hook",
    "guards/endings.py::_words_of": "`__str__` of the host's own error",
    "guards/running.py::_remember": "the host's own memory",
    "guards/running.py::execute": "the host's own tool",
    "summarizer/context/policies/applying.py::_checked_step": "the caller's own context policy",
    "summarizer/integrations/litellm_logger.py::LongspliceLogger._guarded": "fail open: the host's own call",
    "summarizer/integrations/openai_agents/compaction.py::LocalCompactionSession._compacted": (
        "the caller's own compaction policy"
    ),
    "summarizer/integrations/openai_agents/compaction.py::LocalCompactionSession.add_items": (
        "the caller's own sessions"
    ),
    "summarizer/integrations/openai_agents/counters.py::Scales._count": "the caller's own token counter",
    "summarizer/integrations/strands/history.py::tell": "the caller's own callback",
    "summarizer/memory/compressors.py::written_by": "the caller's own function",
    "summarizer/memory/renditions.py::Renditions._compressed": "the caller's own compressor",
    "summarizer/memory/residence.py::Residence._asked": "the caller's own eviction policy",
    "summarizer/messages.py::_jsonable_object": "`model_dump` of the caller's own class",
    "summarizer/messages.py::_opaque": "`__repr__` of the caller's own class",
    "summarizer/meter/tokens.py::_guarded.length": "the caller's own tokenizer",
    "summarizer/recall/embedding.py::_called.run": "the caller's own embeddings",
    "summarizer/recall/embedding.py::embedded": "the caller's own embeddings, or litellm and its transports",
    "summarizer/server/desk.py::Desk._judged": "fail open: the client gets its answer",
    "summarizer/server/desk.py::Desk.ready": "fail open: the client gets its answer",
    "summarizer/server/exchange.py::Exchange._record": "fail open: the client gets its answer",
    "summarizer/summary/ladder.py::_complete": "a model client that may be the caller's own",
    "summarizer/summary/ladder.py::_custom": "the caller's own summarizer",
    "summarizer/summary/llm.py::LitellmModel.complete": "litellm and its transports: errors of many families",
    "summarizer/sync/background.py::_work": "the caller's own function",
    "summarizer/tool_calls/traces.py::Traces._remember": "the host's own memory",
    "summarizer/testing/server.py::LoopbackServer._respond": "the caller's own scripted answer",
}
"""`path::function`, and whose code it is that may raise anything there."""


class Module(NamedTuple):
    """One source file."""

    path: str
    package: str
    room: str
    dotted: str
    tree: ast.Module
    lines: int


class Import(NamedTuple):
    """One imported module, as an absolute dotted name."""

    module: Module
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.module.path}:{self.line} imports {self.target}"


def read_modules(root: Path = ROOT) -> list[Module]:
    """Parse every source file of the packages, in a fixed order."""
    found: list[Module] = []
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            text = file.read_text(encoding="utf-8")
            found.append(
                Module(
                    path=file.relative_to(root).as_posix(),
                    package=package,
                    room=parts[1],
                    dotted=".".join(part for part in parts if part != "__init__"),
                    tree=ast.parse(text),
                    lines=text.count("\n"),
                )
            )
    return found


def imports_of(module: Module) -> Iterator[Import]:
    """Every import of a module, inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            source = absolute(module, node)
            for alias in node.names:
                yield Import(module, f"{source}.{alias.name}", node.lineno)


def absolute(module: Module, node: ast.ImportFrom) -> str:
    """Resolve the source of a `from` import to an absolute dotted name."""
    if not node.level:
        return node.module or ""
    is_package = module.path.endswith("__init__.py")
    parts = module.dotted.split(".")
    anchor = parts[: len(parts) - node.level + is_package]
    return ".".join([*anchor, *(node.module or "").split(".")]).strip(".")


def wrong_rooms(module: Module) -> Iterator[str]:
    """The imports of a module of `summarizer` that go against the order of the rooms."""
    if module.package != "summarizer" or module.room == "__init__":
        return
    for found in imports_of(module):
        package, _, rest = found.target.partition(".")
        room = rest.partition(".")[0]
        if package in {"guards", "procedural"} and module.room not in MEETING_ROOMS:
            yield f"{found}: only {sorted(MEETING_ROOMS)} may"
        if package != "summarizer" or room == module.room or (module.room, room) in DOORS:
            continue
        if room not in ROOMS:
            yield f"{found}: name the room it comes from"
        elif module.room in ROOMS and ROOMS.index(room) > ROOMS.index(module.room):
            yield f"{found}: {room!r} lies below {module.room!r}"


class Function(NamedTuple):
    """One function or method."""

    place: str
    lines: int
    complexity: int


def functions_of(module: Module) -> Iterator[Function]:
    """Every function of a module; its lines are counted without decorators and docstring."""
    for qualified, node in definitions(module.tree, ""):
        docstring = node.body[0] if ast.get_docstring(node) is not None else None
        spoken = docstring.end_lineno - docstring.lineno + 1 if docstring and docstring.end_lineno else 0
        lines = (node.end_lineno or node.lineno) - node.lineno + 1 - spoken
        yield Function(f"{module.path}::{qualified}", lines, 1 + sum(map(decisions, own_nodes(node))))


def definitions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function below a node, with its qualified name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, child
        inner = f"{prefix}{child.name}." if isinstance(child, NAMED) else prefix
        yield from definitions(child, inner)


NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of the functions inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, NAMED):
            yield child
            yield from own_nodes(child)


def decisions(node: ast.AST) -> int:
    """How many ways through a function a node adds, counted as ruff does (McCabe, statements only)."""
    branches = ast.If | ast.For | ast.AsyncFor | ast.While | ast.ExceptHandler | ast.match_case
    return int(isinstance(node, branches))


def broad_excepts(module: Module) -> Iterator[str]:
    """The functions that catch everything and do not raise it again."""
    for qualified, function in [("<module>", module.tree), *definitions(module.tree, "")]:
        for node in own_nodes(function):
            if isinstance(node, ast.ExceptHandler) and is_broad(node) and not raises_again(node):
                yield f"{module.path}::{qualified}"


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Whether a handler is bare or names Exception or BaseException, alone or in a tuple."""
    if handler.type is None:
        return True
    named = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(named & {"Exception", "BaseException"})


def raises_again(handler: ast.ExceptHandler) -> bool:
    """Whether the handler ends with a bare `raise`: it tidies up and swallows nothing."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


MODULES = read_modules()


def test_a_room_imports_only_from_rooms_above_it() -> None:
    """Data flows one way: the order of the rooms is the order of the imports."""
    wrong = [line for module in MODULES for line in wrong_rooms(module)]

    assert wrong == []


def test_every_room_has_its_place() -> None:
    """A module of `summarizer` that the plan does not name is placed in the plan first."""
    rooms = {module.room for module in MODULES if module.package == "summarizer"}

    assert sorted(rooms - {*ROOMS, "__init__"}) == []


@pytest.mark.parametrize("package", ["guards", "procedural"])
def test_each_small_package_stands_alone(package: str) -> None:
    """`guards` and `procedural` need nothing but themselves, the standard library and pydantic."""
    allowed = {package, "pydantic", "pydantic_core", *sys.stdlib_module_names}
    found = [found for module in MODULES if module.package == package for found in imports_of(module)]

    assert [str(one) for one in found if one.target.partition(".")[0] not in allowed] == []


def test_no_module_is_a_drawer() -> None:
    """A module is named for what it holds, not for being handy."""
    assert [module.path for module in MODULES if FORBIDDEN_NAMES & set(module.dotted.split("."))] == []


def test_a_module_stays_within_its_lines() -> None:
    """A larger one is listed with its number, and may not grow."""
    large = [f"{m.path}: {m.lines}" for m in MODULES if m.lines > LARGE.get(m.path, MODULE_LINES)]

    assert large == []


def test_a_function_stays_within_its_lines_and_ways() -> None:
    """A larger one is listed with its number, and may not grow."""
    functions = [function for module in MODULES for function in functions_of(module)]
    long = [f"{f.place}: {f.lines} lines" for f in functions if f.lines > LARGE.get(f.place, FUNCTION_LINES)]
    winding = [
        f"{f.place}: complexity {f.complexity}"
        for f in functions
        if f.complexity > LARGE.get(f"{f.place} complexity", COMPLEXITY)
    ]

    assert long + winding == []


def test_the_list_of_large_things_is_current() -> None:
    """What has shrunk leaves the list, or lowers its number."""
    today = {module.path: module.lines for module in MODULES}
    for module in MODULES:
        for function in functions_of(module):
            today[function.place] = function.lines
            today[f"{function.place} complexity"] = function.complexity

    assert {place: today.get(place) for place in LARGE} == LARGE


def test_everything_is_caught_only_where_foreign_code_runs() -> None:
    """`except Exception` stands around a callback of the user, at a listed place, and nowhere else."""
    found = {place for module in MODULES for place in broad_excepts(module)}

    assert found == set(BROAD_EXCEPTS)


IMPORT_PROBE = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
before, seen = dict(os.environ), []

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
CHANGES = ("socket.", "subprocess.", "os.mkdir", "os.remove", "os.rename", "os.putenv", "shutil.", "sqlite3.")

def hook(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES:
        seen.append(f"open {arguments[0]!r} for writing")
    elif event.startswith(CHANGES):
        seen.append(event)

sys.addaudithook(hook)
package = __import__(sys.argv[2])
if sys.argv[3] == "names":
    for name in getattr(package, "__all__", ()):
        getattr(package, name)
heavy = sorted(set(sys.argv[4].split(",")) & set(sys.modules))
same = dict(os.environ) == before
print(json.dumps({"heavy": heavy, "events": sorted(set(seen)), "same_environment": same}))
"""


@pytest.mark.parametrize("depth", ["package", "names"])
@pytest.mark.parametrize("package", PACKAGES)
def test_importing_changes_nothing_and_is_light(package: str, depth: str) -> None:
    """Importing, and reaching for each public name, opens no socket, writes nothing, loads nothing heavy."""
    command = [sys.executable, "-B", "-c", IMPORT_PROBE, str(ROOT), package, depth, ",".join(HEAVY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert json.loads(done.stdout) == {"heavy": [], "events": [], "same_environment": True}


def parsed(path: str, text: str) -> Module:
    """A module that exists in this test only."""
    parts = Path(path).with_suffix("").parts
    dotted = ".".join(part for part in parts if part != "__init__")
    return Module(path, parts[0], parts[1], dotted, ast.parse(text), text.count("\n"))


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        ("summarizer/meter/tokens.py", "from summarizer.session import X", "'session' lies below 'meter'"),
        ("summarizer/meter/tokens.py", "from ..session import X", "'session' lies below 'meter'"),
        ("summarizer/meter/__init__.py", "from ..session import X", "'session' lies below 'meter'"),
        ("summarizer/units.py", "def f():\n    import summarizer.cli.main", "'cli' lies below 'units'"),
        (
            "summarizer/units.py",
            "if TYPE_CHECKING:\n    from summarizer import recall",
            "'recall' lies below",
        ),
        ("summarizer/units.py", "from . import policy", "'policy' lies below 'units'"),
        ("summarizer/session.py", "from summarizer import SessionManager", "name the room it comes from"),
        (
            "summarizer/session.py",
            "import guards.errors",
            "only ['integrations', 'stores', 'sync', 'tool_calls'] may",
        ),
    ],
)
def test_the_reader_sees_a_wrong_import(path: str, text: str, fault: str) -> None:
    """Absolute or relative, late or for types only: a wrong direction is found."""
    found = list(wrong_rooms(parsed(path, text)))

    assert len(found) == 1
    assert fault in found[0]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("summarizer/session.py", "from . import events, units\nfrom .stores import open_store"),
        (
            "summarizer/stores/redis.py",
            "from ..errors import StoreError\nfrom . import protocol\nimport guards",
        ),
        ("summarizer/stores/__init__.py", "from .protocol import EventStore\nfrom ..events import Event"),
        ("summarizer/cli/demo.py", "from summarizer.testing import local_model"),
        ("summarizer/__init__.py", "from summarizer.session import SessionManager"),
    ],
)
def test_the_reader_lets_a_right_import_pass(path: str, text: str) -> None:
    """Rooms above, the own room, listed doors and the package's front are open."""
    assert list(wrong_rooms(parsed(path, text))) == []


def test_the_reader_counts_ways_and_lines() -> None:
    """Branches, loops and handlers count; comprehensions, a docstring and inner functions do not."""
    text = (
        "def f(x):\n    '''One.\n\n    Two.\n    '''\n"
        "    if x:\n        pass\n    elif [y for y in x]:\n        pass\n"
        "    def g():\n        while x:\n            pass\n"
    )
    found = list(functions_of(parsed("guards/x.py", text)))

    assert found == [Function("guards/x.py::f", 8, 3), Function("guards/x.py::f.g", 3, 2)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("except Exception:\n        pass", ["guards/x.py::f"]),
        ("except (ValueError, BaseException):\n        pass", ["guards/x.py::f"]),
        ("except:\n        pass", ["guards/x.py::f"]),
        ("except BaseException:\n        undo()\n        raise", []),
        ("except ValueError:\n        pass", []),
    ],
)
def test_the_reader_sees_a_broad_except(body: str, expected: list[str]) -> None:
    """Bare, named or in a tuple; one that raises again swallows nothing."""
    text = f"def f():\n    try:\n        pass\n    {body}\n"

    assert list(broad_excepts(parsed("guards/x.py", text))) == expected
