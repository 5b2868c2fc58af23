"""A private network in which the ports 443 and 8883 are free, and which reaches no other machine.

The SDKs can use only these two ports.

On Linux, `unshare` gives this process a network namespace that has only a loopback interface. This works as
root. It also works as an ordinary user if user namespaces are allowed.

If there is no network namespace, the emulator binds the two ports of the machine. The user must be allowed to
bind them.
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
    """Returns True if this process runs in the private network. If it does, activates the loopback interface."""
    if os.environ.get(_INSIDE) != "1":
        return False
    _raise_loopback()
    return True


def enter():
    """Replaces this process by the same program in the private network. Returns only if this is not possible."""
    unshare = shutil.which("unshare")
    if unshare is None or not sys.platform.startswith("linux"):
        return
    for extra in ([], ["--map-root-user"]):
        command = [unshare, "--net", *extra, "--"]
        if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            os.environ[_INSIDE] = "1"
            os.execv(unshare, [*command, sys.executable, *sys.argv])


def check_ports():
    """Checks that this process can bind the ports without a private network. Raises SetupError if it cannot."""
    for port in PORTS:
        with socket.socket() as probe:
            if os.name != "nt":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise SetupError(
                    f"the SDKs use only the ports 443 and 8883, and port {port} cannot be bound "
                    f"({error.strerror}); run as root, allow `unshare --net` "
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
