"""`python -m hubward_emulator example` prints a test to begin with. Anything else runs the program `hubward`."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import List

from . import _binary
from ._errors import EmulatorError

EXAMPLE = Path(__file__).with_name("example") / "test_device.py"


def main() -> int:
    if sys.argv[1:] == ["example"]:
        print(EXAMPLE.read_text(encoding="utf-8"), end="")
        return 0
    try:
        binary = _binary.find(None)
    except EmulatorError as error:
        print(f"hubward_emulator: {error}", file=sys.stderr)
        return 1
    try:
        return _run([binary, *sys.argv[1:]])
    except OSError as error:
        print(f"hubward_emulator: the program {binary} cannot be started: {error.strerror}", file=sys.stderr)
        return 1


def _run(command: List[str]) -> int:
    if sys.platform == "win32":
        return _wait(subprocess.Popen(command))
    # The program replaces this process, so it gets all signals itself. Python ignores these two signals, and an ignored
    # signal stays ignored in the program.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execv(command[0], command)


def _wait(child: "subprocess.Popen[bytes]") -> int:
    """Waits for the end of the program. Ctrl-C reaches the program, too, and the program needs time to shut down."""
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    sys.exit(main())
