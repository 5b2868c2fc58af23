"""Installs the pinned SDKs: into a venv for Python, into node_modules for Node.

A stamp file contains the installed versions. If they are the pinned versions, the harness installs nothing.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from .errors import SetupError

HERE = Path(__file__).resolve().parents[1]
NODE_FILES = ["package.json", "package-lock.json", ".npmrc"]


class Installed:
    """The paths and versions of the installed SDKs."""

    def __init__(self, work):
        self.python = _venv_python(work / "python")
        self.node = _program("node")
        self.node_modules = work / "node" / "node_modules"
        pins = dict(line.split("==") for line in _requirements() if "==" in line)
        node = json.loads((HERE / "package.json").read_text())["dependencies"]
        self._pins = {"python": pins, "node": node}
        self.versions = (
            f"Python azure-iot-device {pins['azure-iot-device']}, "
            f"Node azure-iot-device {node['azure-iot-device']}"
        )


    def version(self, sdk, package):
        return self._pins[sdk][package]


def install(work):
    """Installs the pinned versions of the SDKs."""
    work.mkdir(parents=True, exist_ok=True)
    _install_python(work / "python")
    _install_node(work / "node")


def installed(work):
    return Installed(work)


def _install_python(venv):
    stamp = _stamp([HERE / "requirements.txt"], sys.version)
    if _is_stamped(venv, stamp):
        return
    print("interop: installing the Python SDK", file=sys.stderr, flush=True)
    shutil.rmtree(venv, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(venv)])
    _run([str(_venv_python(venv)), "-m", "pip", "install", "--quiet", "--no-deps",
          "--disable-pip-version-check", "--requirement", str(HERE / "requirements.txt")])
    _run([str(_venv_python(venv)), "-m", "pip", "check", "--quiet", "--disable-pip-version-check"])
    (venv / "stamp").write_text(stamp)


def _install_node(folder):
    version = subprocess.run([_program("node"), "--version"], check=True, capture_output=True, text=True).stdout
    if int(version.lstrip("v").split(".")[0]) < 20:
        raise SetupError(f"Node {version.strip()} is too old; install Node 20 or later")
    stamp = _stamp([HERE / name for name in NODE_FILES], version)
    if _is_stamped(folder, stamp):
        return
    print("interop: installing the Node SDKs", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in NODE_FILES:
        shutil.copy(HERE / name, folder / name)
    _run([_program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder)
    (folder / "stamp").write_text(stamp)


def _run(command, cwd=None):
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise SetupError(f"`{' '.join(command[:4])} …` failed:\n{done.stdout[-4000:]}")


def _requirements():
    return (HERE / "requirements.txt").read_text().split()


def _venv_python(venv):
    return venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _program(name):
    path = shutil.which(name)
    if path is None:
        raise SetupError(f"{name} is not on the PATH; install it")
    return path


def _stamp(files, tool):
    digest = hashlib.sha256(tool.encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _is_stamped(folder, stamp):
    try:
        return (folder / "stamp").read_text() == stamp
    except OSError:
        return False
