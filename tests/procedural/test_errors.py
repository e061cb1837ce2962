"""The error tree of `procedural`."""

from procedural import errors


def test_every_error_of_the_package_descends_from_its_root() -> None:
    """One `except ProceduralError` catches whatever procedural raises on purpose."""
    kinds = [getattr(errors, name) for name in errors.__all__]

    assert [kind for kind in kinds if not issubclass(kind, errors.ProceduralError)] == []


def test_a_bad_trace_and_a_failed_store_are_told_apart() -> None:
    """What the caller must change and what may be tried again are different types."""
    assert issubclass(errors.TraceError, ValueError)
    assert not issubclass(errors.TraceStoreError, ValueError)
