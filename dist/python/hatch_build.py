"""Puts the program `hubward`, built before, into the wheel as a script. pip copies it beside `python`."""

import os
import sysconfig
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProgramHook(BuildHookInterface):
    """Reads the path of the program from the variable HUBWARD_BINARY."""

    def initialize(self, version, build_data):
        binary = os.environ.get("HUBWARD_BINARY")
        if not binary or not Path(binary).is_file():
            raise SystemExit("set HUBWARD_BINARY to the path of the program hubward; `cargo xtask dist` does this")
        build_data["shared_scripts"][binary] = Path(binary).name
        # The wheel needs no certain Python, only this platform. On Linux, `cargo xtask dist` replaces this tag with the
        # manylinux tag that auditwheel reports.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        build_data["pure_python"] = False
