"""A disk that cannot be synchronised any more, for one thread: what waits for the disk fails there, and nothing else.

    def work() -> None:
        store.join(...)          # as ever
        disk.fail()              # from here to the end of the thread
        store.move(...)          # StoreUnavailable, unless it waits for no disk

    disk.in_a_thread(work)

The kernel answers this thread's fsync and fdatasync with EIO, by a seccomp filter: no root and no other program.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_CALLS = {"x86_64": (74, 75), "aarch64": (82, 83)}
"""The numbers of fsync and fdatasync."""
_NO_NEW_PRIVS, _SECCOMP, _FILTER = 38, 22, 2
_LOAD_NUMBER, _IS, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


class _Instruction(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_ushort),
        ("then", ctypes.c_ubyte),
        ("otherwise", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    ]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction))]


def is_possible() -> bool:
    """Whether the calls of this machine are known."""
    return os.uname().machine in _CALLS


def in_a_thread(work: Callable[[], T]) -> T:
    """Return what it returns, or raise what it raises. What it did to the disk ends with its thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def fail() -> None:
    """Have this thread's disk fail; not to be called in the main thread, which would have it for ever."""
    fsync, fdatasync = _CALLS[os.uname().machine]
    lines = [
        (_LOAD_NUMBER, 0, 0, 0),
        (_IS, 2, 0, fsync),
        (_IS, 1, 0, fdatasync),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERROR | errno.EIO),
    ]
    program = _Program(len(lines), (_Instruction * len(lines))(*(_Instruction(*line) for line in lines)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_NO_NEW_PRIVS, 1, 0, 0, 0), (_SECCOMP, _FILTER, ctypes.byref(program))):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "prctl")
