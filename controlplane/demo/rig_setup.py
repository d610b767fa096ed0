"""Sets up what the rig needs: a Python environment of its own that holds the real `tritonserver` binary.

The PyPI wheel nvidia-pytriton carries tritonserver 2.51, its python backend and the stubs; it is used without the
pytriton library. The environment stands in a cache folder, is made once, and is safe to ask for from several processes.

    python -m controlplane.demo.rig_setup
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from controlplane.demo.rig_errors import RigError, RigUnavailableError
from controlplane.demo.rig_python import WANTED, RigPython, find_python

CONSTRAINTS = ("numpy==1.26.4", "nvidia-pytriton==0.7.0")
"""All that goes into the rig's environment. numpy 1.26 is the newest below 2."""

_LAYOUT = 1  # part of the folder's name: raise it when the layout below changes
_GLIBC = (2, 35)
_INSTEAD = "the tritonserver container image from NVIDIA's catalogue does instead; see deploy/"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RigEnvironment:
    """A finished rig environment.

    `server` is the tritonserver binary, `backends` its --backend-directory, `libraries` the folders that belong into
    its LD_LIBRARY_PATH, `python_bin` the folder that must be first on its PATH (the stubs take site-packages from the
    `python3` found there and ignore PYTHONPATH).
    """

    root: Path
    server: Path
    backends: Path
    libraries: tuple[Path, ...]
    python_bin: Path
    python_version: str


def platform_problem() -> str | None:
    """Why this platform cannot run the rig, or None where it can."""
    if sys.platform != "linux" or platform.machine() not in {"x86_64", "AMD64"}:
        return f"the Triton rig runs on linux x86-64 only, this is {sys.platform} {platform.machine()}; {_INSTEAD}"
    wanted = ".".join(map(str, _GLIBC))
    libc, version = platform.libc_ver()
    if libc != "glibc":
        return (
            f"the Triton rig needs glibc {wanted} or newer, this system's C library is {libc or 'unknown'}; {_INSTEAD}"
        )
    if tuple(int(part) for part in version.split(".")[:2]) < _GLIBC:
        return f"the Triton rig needs glibc {wanted} or newer, this system has {version}; {_INSTEAD}"
    return None


def rig_root() -> Path:
    """The cache folder of the rig: CONTROLPLANE_RIG_DIR, else inference-controlplane/triton-rig in the XDG cache."""
    named = os.environ.get("CONTROLPLANE_RIG_DIR")
    if named:
        return Path(named).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "inference-controlplane" / "triton-rig"


def ready_environment(root: Path | None = None) -> RigEnvironment | None:
    """The environment if it is set up and whole, else None. Changes nothing."""
    root = root or rig_root()
    return next((found for version in WANTED if (found := _read(_folder(root, version)))), None)


def ensure_environment(root: Path | None = None, say: Progress = lambda _line: None) -> RigEnvironment:
    """The environment, made first where it is not there yet (about 60 MB to download, 200 MB on disk).

    Raises RigUnavailableError where the platform or its Pythons cannot run it, RigError when the installation failed.
    """
    root = root or rig_root()
    found = ready_environment(root)
    if found:
        return found
    problem = platform_problem()
    if problem:
        raise RigUnavailableError(problem)
    with _locked(root, say):
        found = ready_environment(root)  # another process may have made it while this one waited
        if found:
            return found
        python = find_python()
        folder = _folder(root, python.version)
        shutil.rmtree(folder, ignore_errors=True)  # what a broken-off attempt left
        say(f"triton rig: making {folder} with {python.executable} (Python {python.version})")
        _install(folder, python, say)
        _lay_out(folder, python)
        _check(folder)
        environment = _environment(folder, python.version)
        marker = _marker(folder)
        marker.with_suffix(".tmp").write_text(json.dumps(asdict(environment), default=str, indent=2) + "\n")
        marker.with_suffix(".tmp").rename(marker)
        say("triton rig: ready")
        return environment


def _folder(root: Path, version: str) -> Path:
    triton = CONSTRAINTS[1].partition("==")[2]
    return root / f"pytriton-{triton}-py{version.replace('.', '')}-{_LAYOUT}"


def _marker(folder: Path) -> Path:
    return folder / "ready.json"


def _environment(folder: Path, version: str) -> RigEnvironment:
    site = folder / "venv" / "lib" / f"python{version}" / "site-packages"
    return RigEnvironment(
        root=folder,
        server=site / "pytriton" / "tritonserver" / "bin" / "tritonserver",
        backends=folder / "backends",
        libraries=(site / "nvidia_pytriton.libs", folder / "lib"),
        python_bin=folder / "venv" / "bin",
        python_version=version,
    )


def _read(folder: Path) -> RigEnvironment | None:
    """The finished environment of a folder; None without its marker or when its Python has gone since."""
    if not _marker(folder).is_file():
        return None
    version = next(v for v in WANTED if f"-py{v.replace('.', '')}-" in folder.name)
    found = _environment(folder, version)
    libpython = found.root / "lib" / f"libpython{version}.so.1.0"
    whole = found.server.exists() and (found.python_bin / "python3").exists()
    return found if whole and (libpython.exists() or not libpython.is_symlink()) else None


@contextmanager
def _locked(root: Path, say: Progress) -> Iterator[None]:
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("triton rig: waiting for another process that is setting it up")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(folder: Path, python: RigPython, say: Progress) -> None:
    venv = folder / "venv"
    _run([str(python.executable), "-m", "venv", "--without-pip", str(venv)], "making the environment")
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(CONSTRAINTS) + "\n")
    say(f"triton rig: installing {', '.join(CONSTRAINTS)} (about 75 MB the first time)")
    arguments = ["--quiet", "--no-deps", "--only-binary=:all:", "--requirement", str(constraints)]
    _run([*_installer(venv / "bin" / "python3"), *arguments], "installing into the environment")


def _installer(python: Path) -> list[str]:
    """The command that installs into `python`'s environment, which has no pip of its own."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install"]
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", str(python)]
    _run([str(python), "-m", "ensurepip", "--upgrade"], "installing pip")
    return [str(python), "-m", "pip", "--disable-pip-version-check", "install"]


def _lay_out(folder: Path, python: RigPython) -> None:
    """The backend directory as tritonserver wants it, and the shared library that the stub is linked against."""
    triton = _environment(folder, python.version).server.parent.parent
    backend = folder / "backends" / "python"
    backend.mkdir(parents=True)
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        (backend / name).symlink_to(triton / "backends" / "python" / name)
    stub = "triton_python_backend_stub"
    (backend / stub).symlink_to(triton / "python_backend_stubs" / python.version / stub)
    for program in (backend / stub, triton / "bin" / "tritonserver"):
        program.resolve().chmod(0o755)
    libraries = folder / "lib"
    libraries.mkdir()
    if python.libpython:
        (libraries / f"libpython{python.version}.so.1.0").symlink_to(python.libpython)


def _check(folder: Path) -> None:
    """That both programs load their libraries: a stub that cannot would hang the first load of a model."""
    version = next(v for v in WANTED if f"-py{v.replace('.', '')}-" in folder.name)
    environment = _environment(folder, version)
    for program in (environment.server, environment.backends / "python" / "triton_python_backend_stub"):
        done = subprocess.run(
            ["ldd", str(program)], check=False, capture_output=True, text=True, env=server_environ(environment)
        )
        missing = [line.strip() for line in done.stdout.splitlines() if "not found" in line]
        if missing:
            raise RigUnavailableError(f"{program.name} cannot start here: {'; '.join(missing)}")


def server_environ(environment: RigEnvironment) -> dict[str, str]:
    """The process environment in which tritonserver and its stubs must run."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "LD_"))}
    environ["PATH"] = os.pathsep.join([str(environment.python_bin), environ.get("PATH", os.defpath)])
    environ["LD_LIBRARY_PATH"] = os.pathsep.join(map(str, environment.libraries))
    # numpy's linear algebra would start one thread a core in every stub
    environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return environ


def _run(command: list[str], what: str) -> None:
    environ = {k: v for k, v in os.environ.items() if k not in {"PYTHONHOME", "PYTHONPATH"}}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise RigError(f"setting up the Triton rig failed while {what}:\n{last}")


def main() -> int:
    """Sets the rig up and prints where it is; 0 ok, 1 where it cannot be."""
    try:
        environment = ensure_environment(say=lambda line: print(line, file=sys.stderr, flush=True))
    except (RigUnavailableError, RigError) as error:
        print(error, file=sys.stderr)
        return 1
    print(environment.root)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
