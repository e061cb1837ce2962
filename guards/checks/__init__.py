"""The checks: each looks at a call and says what it saw.

In: a pending call, and finished ones. Out: at most one finding a call. Never: changes the
call, reads another check's state, or does I/O.
"""

__all__: list[str] = []
