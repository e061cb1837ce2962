"""The cache models against cases worked out by hand."""

from collections.abc import Sequence

from benchmarks.billing.caches import BreakpointCache, PrefixCache, Prompt, Split


def _prompt(*blocks: tuple[str, int], marks: Sequence[int] = ()) -> Prompt:
    return Prompt(blocks, tuple(marks))


_SYSTEM = ("system", 1000)


def test_a_prefix_below_the_minimum_is_not_cached() -> None:
    """1,023 tokens sent twice are paid in full twice, 1,024 are read the second time."""
    small, enough = PrefixCache(), PrefixCache()

    first = [cache.send(_prompt(("a", n)), 0) for cache, n in ((small, 1023), (enough, 1024))]
    second = [cache.send(_prompt(("a", n)), 1) for cache, n in ((small, 1023), (enough, 1024))]

    assert first == [Split(0, 0, 1023), Split(0, 0, 1024)]
    assert second == [Split(0, 0, 1023), Split(1024, 0, 0)]


def test_an_automatic_prefix_is_read_in_steps_of_128() -> None:
    """Of a common prefix of 1,300 tokens, 1,280 are read: 1,024 and two steps."""
    cache = PrefixCache()
    cache.send(_prompt(_SYSTEM, ("a", 300), ("b", 50)), 0)

    split = cache.send(_prompt(_SYSTEM, ("a", 300), ("c", 500)), 1)

    assert split == Split(1280, 0, 520)


def test_a_hit_renews_the_lifetime_of_what_it_read_and_of_nothing_else() -> None:
    """Read after 299 s, a prefix lives another 300; what followed it in the older request dies with it."""
    cache = PrefixCache(lifetime_s=300)
    cache.send(_prompt(("a", 1024), ("b", 1024)), 0)
    cache.send(_prompt(("a", 1024), ("c", 1024)), 299)

    late = cache.send(_prompt(("a", 1024), ("b", 1024)), 598)
    too_late = cache.send(_prompt(("a", 1024), ("c", 1024)), 899)

    assert late == Split(1024, 0, 1024)
    assert too_late == Split(0, 0, 2048)


def test_a_change_at_the_front_makes_everything_behind_it_new() -> None:
    """Moved one message on, a window has no prefix in common with the last one but the system prompt."""
    cache = PrefixCache()
    cache.send(_prompt(("s", 2048), ("a", 500), ("b", 500)), 0)

    split = cache.send(_prompt(("s", 2048), ("b", 500), ("c", 500)), 1)

    assert split == Split(2048, 0, 1000)


def test_a_breakpoint_writes_once_and_is_read_after() -> None:
    """The first request pays the write, the second reads it and writes only what was added."""
    cache = BreakpointCache(minimum=1024)
    turn = [_SYSTEM, ("a", 100)]

    first = cache.send(_prompt(*turn, marks=[2]), 0)
    second = cache.send(_prompt(*turn, ("b", 50), ("c", 60), marks=[4]), 1)

    assert first == Split(0, 1100, 0)
    assert second == Split(1100, 110, 0)


def test_what_stands_behind_the_last_breakpoint_is_plain_input() -> None:
    """Nothing is written without a breakpoint, and nothing behind one."""
    cache = BreakpointCache(minimum=1024)

    unmarked = cache.send(_prompt(("s", 2000), ("a", 10)), 0)
    marked = cache.send(_prompt(("s", 2000), ("a", 10), marks=[1]), 1)
    again = cache.send(_prompt(("s", 2000), ("b", 20), marks=[1]), 2)

    assert unmarked == Split(0, 0, 2010)
    assert marked == Split(0, 2000, 10)
    assert again == Split(2000, 0, 20)


def test_a_breakpoint_below_the_minimum_does_nothing() -> None:
    """1,000 tokens are not cached where 1,024 are the least; a later breakpoint may be."""
    cache = BreakpointCache(minimum=1024)

    split = cache.send(_prompt(_SYSTEM, ("a", 23), ("b", 1), marks=[1, 2]), 0)
    later = cache.send(_prompt(_SYSTEM, ("a", 24), marks=[1, 2]), 1)

    assert split == Split(0, 0, 1024)
    assert later == Split(0, 1024, 0)


def test_a_breakpoint_looks_back_twenty_blocks() -> None:
    """An entry 19 blocks before the breakpoint is found, one 20 before is not."""
    near, far = BreakpointCache(minimum=1024), BreakpointCache(minimum=1024)
    old = ("s", 2000)
    added = [(f"m{i}", 10) for i in range(20)]
    near.send(_prompt(old, marks=[1]), 0)
    far.send(_prompt(old, marks=[1]), 0)

    found = near.send(_prompt(old, *added[:19], marks=[20]), 1)
    missed = far.send(_prompt(old, *added, marks=[21]), 1)

    assert found == Split(2000, 190, 0)
    assert missed == Split(0, 2200, 0)


def test_a_second_breakpoint_finds_what_the_last_one_cannot() -> None:
    """With one breakpoint at the system prompt, a far newest one still reads that much."""
    cache = BreakpointCache(minimum=1024)
    cache.send(_prompt(("s", 2000), marks=[1]), 0)

    split = cache.send(_prompt(("s", 2000), *[(f"m{i}", 10) for i in range(30)], marks=[1, 31]), 1)

    assert split == Split(2000, 300, 0)


def test_an_entry_dies_after_its_lifetime_unless_read() -> None:
    """Read at 200 s, an entry of 300 s lives at 450 and is dead at 751."""
    cache = BreakpointCache(minimum=1024, lifetime_s=300)
    prompt = _prompt(("s", 2000), marks=[1])

    splits = [cache.send(prompt, at) for at in (0, 200, 450, 751)]

    assert splits == [Split(0, 2000, 0), Split(2000, 0, 0), Split(2000, 0, 0), Split(0, 2000, 0)]
