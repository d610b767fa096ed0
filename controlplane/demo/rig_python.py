"""Finds a Python that the rig's Triton can embed.

Triton's python backend starts one small program per instance (the stub) that is linked against `libpython3.X.so.1.0`.
The rig's numpy must be older than 2 (with numpy 2 this Triton returns outputs of zero bytes), and such a numpy has
wheels up to Python 3.12. So the interpreter must be 3.11 or 3.12 and have its shared library at hand.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from controlplane.demo.rig_errors import RigUnavailableError

WANTED = ("3.12", "3.11")

_PROBE = """
import ctypes, json, os, sys, sysconfig
name = "libpython%d.%d.so.1.0" % sys.version_info[:2]
found = None
for folder in (sysconfig.get_config_var("LIBDIR"), os.path.join(sys.base_prefix, "lib"),
               os.path.join(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("MULTIARCH") or "")):
    path = os.path.join(folder or "", name)
    if os.path.isfile(path):
        found = path
        break
if found is None:
    try:
        ctypes.CDLL(name)
        found = ""
    except OSError:
        pass
print(json.dumps({"version": "%d.%d" % sys.version_info[:2], "libpython": found,
                  "executable": getattr(sys, "_base_executable", sys.executable)}))
"""


@dataclass(frozen=True, slots=True)
class RigPython:
    """An interpreter that can be embedded.

    `version` is "3.11" or "3.12"; `libpython` is the shared library's path, empty when the system's loader finds it.
    """

    executable: Path
    version: str
    libpython: str


def find_python() -> RigPython:
    """The interpreter for the rig: the running one where it fits, else one from PATH, pyenv or uv.

    Raises RigUnavailableError that lists what was tried and why each does not do.
    """
    tried: list[str] = []
    seen: set[Path] = set()
    for candidate in _candidates():
        if candidate in seen:
            continue
        seen.add(candidate)
        found = _probe(candidate)
        if isinstance(found, RigPython):
            return found
        tried.append(f"  {candidate}: {found}")
    listing = "\n".join(tried) or "  none found on PATH"
    raise RigUnavailableError(
        "the Triton rig needs Python 3.11 or 3.12 with its shared library; tried:\n"
        f"{listing}\n"
        "install one (Debian, Ubuntu: python3.11 libpython3.11; elsewhere: pip install uv && uv python install 3.12)"
    )


def _candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    for version in (f"{sys.version_info[0]}.{sys.version_info[1]}", *WANTED):
        for folder in os.get_exec_path():
            path = Path(folder) / f"python{version}"
            if os.access(path, os.X_OK):
                yield path
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in WANTED:
        yield from sorted(pyenv.glob(f"{version}.*/bin/python{version}"), reverse=True)
    uv = shutil.which("uv")
    for action in ("find", "install") if uv else ():
        yield from _from_uv(str(uv), action)


def _from_uv(uv: str, action: str) -> Iterator[Path]:
    for version in WANTED:
        if action == "install":
            subprocess.run([uv, "python", "install", version], check=False, capture_output=True, timeout=300)
        done = subprocess.run([uv, "python", "find", version], check=False, capture_output=True, text=True, timeout=60)
        if done.returncode == 0 and done.stdout.strip():
            yield Path(done.stdout.strip())


def _probe(candidate: Path) -> RigPython | str:
    """The interpreter, or why it does not do. A pyenv shim may stand on PATH and yet run nothing."""
    try:
        done = subprocess.run(
            [str(candidate), "-I", "-c", _PROBE], check=False, capture_output=True, text=True, timeout=20
        )
        answer = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return "does not run"
    version = str(answer["version"])
    if version not in WANTED:
        return f"is Python {version}"
    if answer["libpython"] is None:
        return f"has no shared library libpython{version}.so.1.0"
    return RigPython(Path(answer["executable"]), version, str(answer["libpython"]))
