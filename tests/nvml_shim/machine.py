"""The state of machine.c in its file: GPUs made of our boards, and what a test does to them beside NVML."""

from __future__ import annotations

import ctypes
import mmap
from ctypes import Structure, c_char, c_uint
from enum import IntEnum
from pathlib import Path

from controlplane.config.mig.boards import boards
from controlplane.decide.mig import WHOLE, Board, Profile, Slice

PIDS, STARTS = 4, 12
DOUBLE_MEMORY = 9
"""NVML's number of the profile with one compute slice and twice its memory."""
_COMPUTE_SLICES = {0: 1, 1: 2, 2: 3, 3: 4, 4: 7, 5: 8, 6: 6, 7: 1}
"""Compute slices by NVML's number of the profile of a compute instance."""
_SM_OF_A_SLICE = 16


class Fault(IntEnum):
    """What happens at the call that is to fail."""

    ERROR_BEFORE = 1
    ERROR_AFTER = 2
    KILL_BEFORE = 3
    KILL_AFTER = 4
    HANG = 5


class _Compute(Structure):
    _fields_ = [*((name, c_uint) for name in ("used", "id", "profile", "serial")), ("pids", c_uint * PIDS)]


class _Instance(Structure):
    _fields_ = [*((name, c_uint) for name in ("used", "id", "profile", "start", "serial")), ("computes", _Compute * 7)]


class _Profile(Structure):
    _fields_ = [
        *((name, c_uint) for name in ("there", "id", "slices", "most", "sm", "memory_mib", "size", "starts_count")),
        ("starts", c_uint * STARTS),
        ("compute_sm", c_uint * 9),
        ("compute_slices", c_uint * 9),
        ("apart", c_uint),
        ("name", c_char * 64),
    ]


class _Gpu(Structure):
    _fields_ = [
        ("uuid", c_char * 80),
        ("name", c_char * 96),
        *((name, c_uint) for name in ("pci", "mig", "lost", "resets", "mode", "pending", "profiles_only_with_mig")),
        ("pids", c_uint * PIDS),
        ("profiles", _Profile * 18),
        ("instances", _Instance * 14),
    ]


_COUNTERS = ("size", "gpus", "right", "serial", "calls", "changes", "at_call", "at_change", "fault", "status")


class _Machine(Structure):
    _fields_ = [*((name, c_uint) for name in _COUNTERS), ("gpu", _Gpu * 2)]


class Machine:
    """Up to two GPUs by the keys of their boards, whole at first; Ampere changes its mode at a reset only.

    `state` is what the shim goes by: tests look into it and change it without NVML.
    """

    def __init__(self, file: Path, *keys: str) -> None:
        if not file.exists():
            file.write_bytes(bytes(ctypes.sizeof(_Machine)))
        with file.open("r+b") as opened:
            self.state = _Machine.from_buffer(mmap.mmap(opened.fileno(), 0))
        if keys:  # in place, since a process may have the file mapped
            ctypes.memset(ctypes.addressof(self.state), 0, ctypes.sizeof(_Machine))
            self.state.size, self.state.gpus, self.state.right = ctypes.sizeof(_Machine), len(keys), 1
        for at, key in enumerate(keys):
            _fill(self.state.gpu[at], boards()[key], f"GPU-{at}")

    def uuid(self, gpu: int = 0) -> str:
        return str(self.state.gpu[gpu].uuid.decode())

    def board(self, gpu: int = 0) -> Board:
        pci = f"0x{self.state.gpu[gpu].pci:08X}"
        return next(board for board in boards().values() if pci in board.pci)

    def slices(self, gpu: int = 0) -> dict[Slice, str]:
        """The UUID of each slice that is whole: with MIG on, and a compute instance."""
        return {
            _named(self.board(gpu), at): f"MIG-{at.computes[0].serial:08x}-0000-4000-8000-000000000000"
            for at in self.state.gpu[gpu].instances
            if at.used and at.computes[0].used
        }

    def unfinished(self, gpu: int = 0) -> list[Slice]:
        """GPU instances without a compute instance."""
        return [
            _named(self.board(gpu), at)
            for at in self.state.gpu[gpu].instances
            if at.used and not any(one.used for one in at.computes)
        ]

    def compute_sm(self, piece: Slice, gpu: int = 0) -> int:
        """SMs of the compute instance of a slice."""
        of = self.state.gpu[gpu]
        at = next(i for i in of.instances if i.used and _named(self.board(gpu), i) == piece)
        return int(of.profiles[at.profile].compute_sm[at.computes[0].profile])

    def attach(self, pid: int, piece: Slice | None = None, gpu: int = 0) -> None:
        """Let a process compute on the slice, or on the whole GPU; pid 0: nobody does any more."""
        if piece is None:
            self.state.gpu[gpu].pids[0] = pid
            return
        at = next(i for i in self.state.gpu[gpu].instances if i.used and _named(self.board(gpu), i) == piece)
        at.computes[0].pids[0] = pid

    def reset(self, gpu: int = 0) -> None:
        """A reset of the GPU: instances go, a mode that is pending is there."""
        ctypes.memset(self.state.gpu[gpu].instances, 0, ctypes.sizeof(self.state.gpu[gpu].instances))
        self.state.gpu[gpu].mode = self.state.gpu[gpu].pending

    def fail(self, fault: Fault, *, at_change: int = 0, at_call: int = 0, status: int = 999) -> None:
        """Let that call from now on fail so; 0: none does."""
        self.state.at_change = at_change and self.state.changes + at_change
        self.state.at_call = at_call and self.state.calls + at_call
        self.state.fault, self.state.status = fault, status

    def mend(self) -> None:
        """No call fails any more."""
        self.state.at_change = self.state.at_call = 0


def _named(board: Board, at: _Instance) -> Slice:
    return Slice(next(p.name for p in board.profiles if p.nvml == at.profile), at.start)


def _fill(gpu: _Gpu, board: Board, uuid: str) -> None:
    gpu.uuid, gpu.name, gpu.pci, gpu.mig = (
        uuid.encode(),
        board.names[0].partition(" (")[0].encode(),
        int(board.pci[0], 16),
        1,
    )
    gpu.resets = int(board.key.startswith("a"))  # Ampere
    numbers = {p.name: p.nvml for p in board.profiles if p.nvml is not None}
    for profile in (p for p in board.profiles if p.nvml is not None):
        _fill_profile(gpu.profiles[profile.nvml], board, profile, numbers)


def _fill_profile(of: _Profile, board: Board, profile: Profile, numbers: dict[str, int]) -> None:
    of.there, of.id, of.slices, of.most, of.size = 1, profile.gi, profile.compute, profile.most, profile.size
    of.sm = profile.sm or _SM_OF_A_SLICE * profile.compute
    of.memory_mib = profile.memory_mib or 8192 * profile.size
    of.starts_count, of.name = len(profile.starts), f"MIG {profile.name}".encode()
    of.starts = (c_uint * STARTS)(*profile.starts)
    for these, those in board.apart:
        for mine, other in ((these, those), (those, these)):
            of.apart |= sum(1 << numbers[name] for name in other - {WHOLE}) if profile.name in mine else 0
    whole = 7 if profile.nvml == DOUBLE_MEMORY else None
    for number, slices in _COMPUTE_SLICES.items():
        if slices <= profile.compute and (number != 7 or whole == 7):
            full = slices == profile.compute and whole in (None, number)
            of.compute_slices[number] = slices
            of.compute_sm[number] = of.sm if full else min(of.sm, _SM_OF_A_SLICE * slices)
