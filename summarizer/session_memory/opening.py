"""Virtual memory as a manager's settings ask for it."""

from __future__ import annotations

from ..access import Access
from ..errors import InvalidSetting
from ..gauge import Gauge
from ..memory import VMMode
from .memory import SessionMemory
from .request import PagedView

__all__ = ["open_memory"]


def open_memory(access: Access, gauge: Gauge, *, enable: bool, mode: VMMode | str | None) -> PagedView | None:
    """The view with pages that a manager's settings ask for; `None` for none.

    Raises:
        InvalidSetting: An unknown mode, or a mode without memory.
    """
    if not enable:
        if mode is None:
            return None
        raise InvalidSetting(f"vm_mode={mode!r} has no effect without virtual memory; add enable_vm=True")
    try:
        chosen = VMMode.RELAXED if mode is None else VMMode(mode)
    except ValueError:
        raise InvalidSetting(f"vm_mode={mode!r} is unknown; use one of {', '.join(VMMode)}") from None
    return PagedView(SessionMemory(access, gauge, chosen), gauge)
