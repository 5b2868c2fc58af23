#!/usr/bin/env python3
"""Runs Microsoft's device and service SDKs, unmodified, against `hubward emulator`.

    python3 tests/interop/run.py --hubward target/debug/hubward

Installs the pinned SDKs into the work folder. A later run uses these SDKs again if the versions match.

On Linux, enters a private network in which the fixed ports 443 and 8883 are free. Then starts one emulator, runs
each case as a separate process, and prints a table. Exits with 0 only if every case passed.

Needs Python 3.9 or later, and Node 20 or later with npm, and openssl. Needs no Python package.
"""

import argparse
import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import calls, cases, isolation, report, sdks  # noqa: E402
from harness.emulator import Emulator  # noqa: E402
from harness.errors import SetupError  # noqa: E402
from harness.runner import run_all  # noqa: E402


def main():
    options = parse_arguments()
    chosen = cases.matching(options.only)
    if options.list:
        for case in chosen:
            print(case.name)
        return 0
    if not chosen:
        raise SetupError(f"no case matches --only {options.only}")
    if not isolation.inside():
        # Install the SDKs first. The installation needs the internet, which the private network does not reach.
        sdks.install(options.work)
        if not options.install_only:
            isolation.enter()
            # The program is still here, so it could not enter a private network.
            isolation.check_ports()
    if options.install_only:
        return 0
    installed = sdks.installed(options.work)
    with Emulator(options.hubward, options.work, chosen) as emulator:
        print(f"interop: {installed.versions} against {emulator.describe()}, {isolation.describe()}", flush=True)
        calls.writes = options.write_calls
        results = run_all(chosen, emulator, installed, options.work, options.jobs, options.time_limit)
    return report.show(results)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hubward", type=Path, help="path of the hubward binary")
    parser.add_argument("--work", type=Path, help="folder for SDKs and logs (default: interop in the target directory)")
    parser.add_argument("--only", help="run only the cases whose name contains this text")
    jobs = max(6, 2 * (os.cpu_count() or 1))
    parser.add_argument("--jobs", type=int, default=jobs, help="number of cases that run at the same time (default %(default)s)")
    parser.add_argument("--time-limit", type=float, default=90, metavar="SECONDS", help="time limit of a case (default 90)")
    parser.add_argument("--write-calls", action="store_true", help="write the lists of docs/interop.md instead of comparing them")
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    parser.add_argument("--install-only", action="store_true", help="install the SDKs and stop")
    options = parser.parse_args()
    if not (options.list or options.install_only):
        if options.hubward is None:
            parser.error("--hubward is missing")
        options.hubward = options.hubward.resolve()
        if not os.access(options.hubward, os.X_OK):
            parser.error(f"{options.hubward} is not a program")
    options.work = (options.work or default_work()).resolve()
    return options


def default_work():
    root = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("CARGO_TARGET_DIR") or root / "target") / "interop"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SetupError as error:
        print(f"interop: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
