#!/usr/bin/env python3
"""Runs Microsoft's own SDKs, for devices and for services, unmodified, against `hubward emulator`.

    python3 tests/interop/run.py --hubward target/debug/hubward

Installs the pinned SDKs into a private place (reused while the versions match), moves into
a private network where the fixed ports 443 and 8883 are free, starts one emulator, runs
every case as a process of its own, and prints a table. Exits 0 only if everything passed.
Needs Python 3.9 or later, Node 20 or later with npm; no Python package.
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
        # Installing needs the network, which is gone once inside.
        sdks.install(options.work)
        if not options.install_only:
            isolation.enter()
            # Only reached where no private network can be had.
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
    parser.add_argument("--hubward", type=Path, help="the hubward binary")
    parser.add_argument("--work", type=Path, help="where SDKs and logs go (default: interop in the target directory)")
    parser.add_argument("--only", help="run only the cases whose name contains this text")
    jobs = max(6, 2 * (os.cpu_count() or 1))
    parser.add_argument("--jobs", type=int, default=jobs, help="cases at a time; they mostly wait (default %(default)s)")
    parser.add_argument("--time-limit", type=float, default=90, metavar="SECONDS", help="per case (default 90)")
    parser.add_argument("--write-calls", action="store_true", help="write the lists of docs/interop.md instead of comparing")
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    parser.add_argument("--install-only", action="store_true", help="install the SDKs and stop")
    options = parser.parse_args()
    if not (options.list or options.install_only):
        if options.hubward is None:
            parser.error("--hubward is needed")
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
