"""Makes the programs of this process trust the emulator's certificates."""

from __future__ import annotations

import importlib
import os
import ssl
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional

#: The variables that name a file with the trusted certificates: OpenSSL, and the package `requests`.
_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def bundle(ca_file: Path) -> Path:
    """Writes a file with the emulator's CA and the certificates that this process trusts already. Returns its path.

    The file is beside the CA file. So other TLS connections of the tests still work.
    """
    parts: List[bytes] = [ca_file.read_bytes()]
    for file in _present():
        content = file.read_bytes()
        if content not in parts:
            parts.append(content)
    path = ca_file.with_name(f"trusted-{os.getpid()}.pem")
    path.write_bytes(b"\n".join(parts))
    return path


def variables(trusted: Path, ca_file: Path) -> Dict[str, str]:
    """The variables for programs: Python and OpenSSL need all certificates, and Node only the additional one."""
    return {**{name: str(trusted) for name in _VARIABLES}, "NODE_EXTRA_CA_CERTS": str(ca_file)}


class Environment:
    """Variables of this process that were changed, with their earlier values."""

    def __init__(self, changes: Mapping[str, str]) -> None:
        self._earlier: Dict[str, Optional[str]] = {name: os.environ.get(name) for name in changes}
        os.environ.update(changes)

    def restore(self) -> None:
        for name, value in self._earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _present() -> Iterable[Path]:
    named = [os.environ.get(name) for name in _VARIABLES]
    for name in [*named, ssl.get_default_verify_paths().cafile, _certifi()]:
        if name and Path(name).is_file():
            yield Path(name)


def _certifi() -> Optional[str]:
    """The certificates of the package `certifi`, which `requests` uses. None if it is not installed."""
    try:
        where = importlib.import_module("certifi").where()
    except ImportError:
        return None
    return str(where)
