"""Write epochs: a scope's epoch moves with every write that may have touched it."""

from hypothesis import given
from hypothesis import strategies as st

from guards import epochs as module
from guards.epochs import Epochs

SCOPES = st.sampled_from([None, "a", "b", "c"])


@given(st.lists(SCOPES), SCOPES, SCOPES)
def test_a_write_moves_the_scopes_that_it_may_have_touched_and_no_other(
    before: list[str | None], written: str | None, read: str | None
) -> None:
    """A write to a scope moves it and whoever reads anything; a write to anything moves every scope."""
    epochs = Epochs()
    for scope in before:
        epochs.move(scope)
    earlier = epochs.current(read)

    epochs.move(written)

    assert (epochs.current(read) > earlier) == (written is None or read is None or read == written)


@given(st.lists(SCOPES))
def test_a_restored_one_goes_on_as_the_old_one_would(writes: list[str | None]) -> None:
    """Snapshot and restore keep every scope's epoch, and the next write."""
    epochs = Epochs()
    for scope in writes:
        epochs.move(scope)
    other = Epochs.restore(epochs.snapshot())
    for each in (epochs, other):
        each.move("b")

    assert epochs.snapshot() == other.snapshot()
    assert [epochs.current(s) for s in (None, "a", "b", "z")] == [
        other.current(s) for s in (None, "a", "b", "z")
    ]


def test_beyond_the_bound_all_scopes_move_at_once() -> None:
    """A write to one scope too many lets no older result stand."""
    epochs = Epochs()
    for i in range(module._SCOPES):
        epochs.move(f"s{i}")
    before = epochs.current("s0")

    epochs.move("one more")

    assert epochs.current("s0") > before
    assert epochs.current("one more") > before
