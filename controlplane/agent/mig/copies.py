"""Copies of models on slices, started and drained by the executable that the site gives to the agent.

    COMMAND start MODEL UUID      a copy of the model runs on the MIG device (or GPU) UUID
    COMMAND drain MODEL UUID      the copy there has left the routing, finished what it had, and stopped

It ends with 0 once that is so, also where it was so already: after a crash it is asked again. NVIDIA_VISIBLE_DEVICES is
the UUID, for a container: vLLM fails on a MIG UUID in CUDA_VISIBLE_DEVICES (github.com/vllm-project/vllm/issues/17047).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import structlog

from controlplane.agent.mig.copy_journal import Begun, CopyJournal
from controlplane.agent.mig.trust import untrusted
from controlplane.domain.mig import Act, CopyOutcome, CopyState, Slice

_log = structlog.get_logger(__name__)
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
"""Nothing else of the agent's environment reaches it: a token may be there."""
_GATE = ("/bin/sh", "-c", 'read -r _ && exec "$0" "$@" </dev/null')
"""The command begins once it is written down, and never where the agent ends before that."""
TURN_S = 20.0
"""Who waits for a turn is told so after this long, and asks again: the answer to whoever has it takes a known time."""
_POLL_S = 0.1


class Copies:
    """Runs the command, one at a time for a slice and `at_once` over all; who waits `turn_s` for that is told WAITING.

    A command and all it started are killed after `deadline_s`, and where the task that runs it is cancelled. `folder`
    keeps which run: one that outlives the agent has its slice's turn with the next one, which never starts another
    beside it.
    """

    def __init__(
        self, command: Path, deadline_s: float, folder: Path, at_once: int = 4, *, turn_s: float = TURN_S
    ) -> None:
        self._command, self._deadline_s, self._at_once, self._turn_s = command, deadline_s, at_once, turn_s
        self._journal = CopyJournal(folder)
        self._turns: defaultdict[tuple[str, Slice], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._slots = asyncio.Semaphore(at_once)
        self._beyond = 0
        """So many commands of an earlier agent run beside those that have a slot."""
        self._watching: set[asyncio.Task[None]] = set()

    async def adopt(self) -> None:
        """Take over the commands of an earlier agent, before anything is asked."""
        for begun in self._journal.running():
            _log.warning("a command of an earlier agent still runs", act=begun.act, model=begun.model, pid=begun.pid)
            await self._turns[begun.place].acquire()
            if self._slots.locked():
                self._beyond += 1
            else:
                await self._slots.acquire()
            task = asyncio.create_task(self._watch(begun), name=f"copy-{begun.pid}")
            self._watching.add(task)
            task.add_done_callback(self._watching.discard)

    async def run(
        self, act: Act, gpu: str, piece: Slice, model: str, find: Callable[[], Awaitable[str]]
    ) -> CopyOutcome:
        """Start or drain the copy of a model on the slice. `find` gives the UUID of its device, at its turn.

        Raises what `find` raises.
        """
        if why := await self._taken(gpu, piece):
            return CopyOutcome(gpu, piece, model, CopyState.WAITING, why)
        try:
            state, why = await self._in_turn(act, gpu, piece, model, await find())
            return CopyOutcome(gpu, piece, model, state, why)
        finally:
            self._give_back(gpu, piece)

    async def _taken(self, gpu: str, piece: Slice) -> str:
        """Take the turn of a slice, and a slot. Why neither was taken in time; empty: both were."""
        turn, why = self._turns[gpu, piece], f"another command is under way on {piece.profile} at {piece.start}"
        try:
            async with asyncio.timeout(self._turn_s):
                await turn.acquire()
                try:
                    why = f"{self._at_once} commands are under way on other slices, and no more may be"
                    await self._slots.acquire()
                except BaseException:
                    turn.release()
                    raise
        except TimeoutError:
            return f"{why}: ask again"
        return ""

    def _give_back(self, gpu: str, piece: Slice) -> None:
        if self._beyond:
            self._beyond -= 1
        else:
            self._slots.release()
        self._turns[gpu, piece].release()

    async def _in_turn(self, act: Act, gpu: str, piece: Slice, model: str, uuid: str) -> tuple[CopyState, str]:
        if why := untrusted(self._command):
            return CopyState.REFUSED, why
        try:
            code, said = await self._ended(act, gpu, piece, model, uuid)
        except OSError as error:
            return CopyState.REFUSED, f"{self._command} is not run, since that cannot be kept: {error.strerror}"
        if code == 0:
            return CopyState.DONE, ""
        if code is None:
            how = f"did not end within {self._deadline_s:g} s and was killed"
        else:
            how = f"ended with signal {-code}" if code < 0 else f"ended with exit code {code}"
        return CopyState.FAILED, f"{self._command} {act} {how}" + (f": {said}" if said else "")

    async def _ended(self, act: Act, gpu: str, piece: Slice, model: str, uuid: str) -> tuple[int | None, str]:
        """Exit code, None: it was killed at its deadline; and the last of what was said. Raises OSError."""
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment |= {
            "NVIDIA_VISIBLE_DEVICES": uuid,
            "CONTROLPLANE_GPU": gpu,
            "CONTROLPLANE_PROFILE": piece.profile,
        }
        output = self._journal.output(gpu, piece)
        try:
            process = await asyncio.create_subprocess_exec(
                *_GATE,
                str(self._command),
                act.value,
                model,
                uuid,
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(output)
        code: int | None = None
        try:
            self._journal.begin(act.value, gpu, piece, model, process.pid)
            _let_go(process)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._deadline_s), asyncio.TaskGroup() as group:
                    trimming = group.create_task(self._trimmed(gpu, piece))
                    code = await process.wait()
                    trimming.cancel()
        finally:
            if code is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            said = self._journal.end(gpu, piece)
        return code, said

    async def _trimmed(self, gpu: str, piece: Slice) -> None:
        while True:
            await asyncio.sleep(_POLL_S)
            self._journal.trim(gpu, piece)

    async def _watch(self, begun: Begun) -> None:
        """Wait until an earlier agent's command, which has its turn and slot, has ended; it keeps its deadline."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._deadline_s - begun.age_s)):
                    while begun.runs():  # it is no child of ours, whose end would be told
                        await asyncio.sleep(_POLL_S)
                        self._journal.trim(*begun.place)
        finally:
            begun.kill()
            told = {"act": begun.act, "model": begun.model, "pid": begun.pid, "said": self._journal.end(*begun.place)}
            _log.info("the command of an earlier agent has ended", **told)
            self._give_back(*begun.place)


def _let_go(process: asyncio.subprocess.Process) -> None:
    """Open the gate."""
    if process.stdin is not None:
        process.stdin.write(b"\n")
        process.stdin.close()
