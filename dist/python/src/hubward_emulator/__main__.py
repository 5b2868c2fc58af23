"""`python -m hubward_emulator example` prints a test to begin with. Anything else runs the program `hubward`."""

import subprocess
import sys
from pathlib import Path

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
        return subprocess.run([binary, *sys.argv[1:]]).returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
