"""A private network, so that ports 443 and 8883 are free and nothing else is in reach.

The SDKs cannot be told another port. On Linux, `unshare` gives this process a network of
its own with nothing but a loopback: as root, or as an ordinary user where user namespaces
are allowed. Elsewhere the two ports are bound as they are, if they may be.
"""

import os
import shutil
import socket
import struct
import subprocess
import sys

from .errors import SetupError

PORTS = (443, 8883)
_INSIDE = "HUBWARD_INTEROP_INSIDE"
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def inside():
    """True in the private network; its loopback is up afterwards."""
    if os.environ.get(_INSIDE) != "1":
        return False
    _raise_loopback()
    return True


def enter():
    """Starts this program again inside; returns only where that is not possible."""
    unshare = shutil.which("unshare")
    if unshare is None or not sys.platform.startswith("linux"):
        return
    for extra in ([], ["--map-root-user"]):
        command = [unshare, "--net", *extra, "--"]
        if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            os.environ[_INSIDE] = "1"
            os.execv(unshare, [*command, sys.executable, *sys.argv])


def check_ports():
    """Without a private network the ports must be free, and ours to bind."""
    for port in PORTS:
        with socket.socket() as probe:
            if os.name != "nt":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise SetupError(
                    f"the SDKs only know ports 443 and 8883, and {port} cannot be bound here "
                    f"({error.strerror}): run as root, or allow `unshare --net` "
                    "(as root, or with user namespaces), or free the port"
                ) from error


def describe():
    return "private network" if os.environ.get(_INSIDE) == "1" else "this machine's loopback"


def _raise_loopback():
    import fcntl

    with socket.socket() as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
