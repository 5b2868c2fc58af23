"""Requests to the emulator's admin port."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, Optional

from ._errors import AdminError, EmulatorError
from ._process import EmulatorProcess


class AdminPort:
    """The admin port of a running emulator."""

    def __init__(self, process: EmulatorProcess) -> None:
        self._process = process
        self.url = str(process.ready["admin"])
        # Loopback needs no proxy.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def request(
        self, method: str, path: str, body: Optional[object] = None, timeout: float = 30.0, replace: bool = False
    ) -> Any:
        request = urllib.request.Request(f"{self.url}/{path.lstrip('/')}", method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if replace or method == "DELETE":
            # The services change an existing record only with this header. The value means any version of the record.
            request.add_header("If-Match", "*")
        try:
            with self._opener.open(request, timeout=timeout) as response:
                content = response.read()
                return json.loads(content) if content.strip() else None
        except urllib.error.HTTPError as error:
            with error:
                text = _message(error.read())
            raise AdminError(f"{method} {path}: the emulator answered {error.code}: {text}", error.code) from None
        except OSError as error:
            self._process.check()
            raise EmulatorError(f"{method} {path}: the emulator does not answer: {error}") from error


def _message(content: bytes) -> str:
    """The reason in an answer of DPS, of a hub or of the admin API."""
    text = content.decode(errors="replace")
    try:
        parsed = json.loads(text)
    except ValueError:
        return text
    if not isinstance(parsed, dict):
        return text
    return str(parsed.get("message") or parsed.get("Message") or text)
