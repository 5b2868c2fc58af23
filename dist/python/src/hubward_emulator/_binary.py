"""Finds the program `hubward`."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Iterator, Optional

from ._errors import StartError

#: A variable with the path of another program, for example of a build from source.
VARIABLE = "HUBWARD_BINARY"

_NAME = "hubward.exe" if sys.platform == "win32" else "hubward"


def find(chosen: Optional[str]) -> str:
    """Returns the path of the program: the chosen one, the one of HUBWARD_BINARY, or the one that pip installed."""
    named = chosen or os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise StartError(f"there is no program {named}; check the argument `binary` or the variable {VARIABLE}")
        return named
    for folder in _script_folders():
        candidate = Path(folder) / _NAME
        if candidate.is_file():
            return str(candidate)
    on_path = shutil.which(_NAME)
    if on_path is None:
        raise StartError(
            "the program hubward is missing; install the package again: pip install --force-reinstall hubward-emulator"
        )
    return on_path


def _script_folders() -> Iterator[str]:
    yield sysconfig.get_path("scripts")
    # pip install --user
    yield sysconfig.get_path("scripts", f"{os.name}_user")
    # pip install --target: the folder `bin` is beside the package.
    yield str(Path(__file__).resolve().parents[1] / "bin")
