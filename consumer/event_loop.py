"""How the interpreter is set up to run the service."""

import asyncio
import gc
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")

_SWITCH_S = 0.0005  # a commit is a dozen answers, and each would wait Python's 5 ms for a thread that is busy
_GARBAGE = (50_000, 20, 100)  # collecting by Python's own thresholds is a tenth of the work, and finds next to nothing


def run_async(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run on uvloop where there is one."""
    set_up()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(coroutine)
    return uvloop.run(coroutine)


def set_up() -> None:
    """Of the whole process: when threads take turns, and how often garbage is looked for."""
    sys.setswitchinterval(_SWITCH_S)
    collect_seldom()


def collect_seldom() -> None:
    """Look for cyclic garbage as seldom as records are objects that live as long as their micro-batch."""
    gc.freeze()
    gc.set_threshold(*_GARBAGE)
