"""Makes the programs of this process trust the emulator's certificates."""

from __future__ import annotations

import importlib
import os
import ssl
import threading
from pathlib import Path
from typing import Dict, Iterable, List, Optional

#: The variables that name a file with the trusted certificates: OpenSSL, and the package `requests`.
_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_NODE_VARIABLE = "NODE_EXTRA_CA_CERTS"


#: Guards the two variables below, the variables of this process, and the bundles.
_lock = threading.Lock()
#: The emulators whose CA this process trusts, in the order of their start.
_active: List["Trust"] = []
#: The values that the variables had before the first of these emulators started. Empty if there is no emulator.
_originals: Dict[str, Optional[str]] = {}


class Trust:
    """Trust in the CA of one running emulator: a file with certificates, and the variables that name it.

    With `in_process`, also changes the variables of this process until `release`.
    """

    def __init__(self, ca_file: Path, in_process: bool) -> None:
        self._ca_file = ca_file
        self._ca = ca_file.read_bytes()
        #: The emulator's CA, the CAs of the other active emulators, and the certificates that this process trusted
        #: before. So other TLS connections of the tests still work. The file is beside the CA file.
        self.bundle = ca_file.with_name(f"trusted-{os.getpid()}.pem")
        with _lock:
            self._write_bundle()
            if in_process:
                if not _active:
                    _originals.update({name: os.environ.get(name) for name in self.variables()})
                _active.append(self)
                _set_variables()

    def variables(self) -> Dict[str, str]:
        """The variables for programs: Python and OpenSSL need all certificates, and Node only the additional one."""
        return {**{name: str(self.bundle) for name in _VARIABLES}, _NODE_VARIABLE: str(self._ca_file)}

    def release(self) -> None:
        """Ends the trust, and deletes the bundle. A second call has no effect."""
        with _lock:
            if self in _active:
                _active.remove(self)
                _set_variables()
            self.bundle.unlink(missing_ok=True)

    def _write_bundle(self) -> None:
        parts: List[bytes] = []
        for content in [self._ca, *(it._ca for it in _active), *(file.read_bytes() for file in _present())]:
            if content not in parts:
                parts.append(content)
        # A TLS connection of another thread reads either the earlier or the new file, and never a part of it.
        written = self.bundle.with_suffix(".new")
        written.write_bytes(b"\n".join(parts))
        os.replace(written, self.bundle)


def _set_variables() -> None:
    """Sets the variables of this process for the active emulators. Restores the original values if there is none."""
    values = dict(_originals)
    if _active:
        latest = _active[-1]
        try:
            latest._write_bundle()
        except OSError:
            # The earlier bundle also contains the CA of each active emulator.
            pass
        values.update(latest.variables())
        if len(_active) > 1:
            # Node adds one file to its own certificates. The bundle contains the CA of each active emulator.
            values[_NODE_VARIABLE] = str(latest.bundle)
    else:
        _originals.clear()
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _present() -> Iterable[Path]:
    # While an emulator is active, the variables of this process name a bundle of this module.
    named = [_originals[name] if _active else os.environ.get(name) for name in _VARIABLES]
    # SSL_CERT_FILE replaces the default file of OpenSSL. `cafile` would be the present value of the variable.
    default = None if named[0] is not None else ssl.get_default_verify_paths().openssl_cafile
    for name in [*named, default, _certifi()]:
        if name and Path(name).is_file():
            yield Path(name)


def _certifi() -> Optional[str]:
    """The certificates of the package `certifi`, which `requests` uses. None if it is not installed."""
    try:
        where = importlib.import_module("certifi").where()
    except ImportError:
        return None
    return str(where)
