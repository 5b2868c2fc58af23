"""Records the results of the calls of an SDK: which calls passed, and which were refused.

At the end, the program fails if a public method of a watched object has no result. So if a newer SDK adds a
method, the test fails until the program calls this method.
"""

import inspect
import json
import re
import sys


class Surface:
    def __init__(self):
        self._passed = set()
        self._refused = {}
        self._watched = {}

    def watch(self, name, target, only=None):
        """Returns the same object, and records its calls under this name."""
        public = {
            method for method, value in inspect.getmembers(type(target), callable)
            if not method.startswith("_") and (only is None or method in only)
        }
        self._watched[name] = public
        return _Watched(self, name, target, public)

    def refused(self, why, pattern, call, *arguments, **named):
        """Makes a call that the emulator does not support. The text of the error must match the pattern."""
        fails(pattern, call, *arguments, **named)
        self._refused[call.name] = why

    def passed(self, name):
        self._passed.add(name)

    def report(self):
        """Prints all results, one JSON object per line. Fails if a public method has no result."""
        missing = []
        for name, methods in self._watched.items():
            for method in sorted(methods):
                call = f"{name}.{method}"
                # If the emulator refuses a call with some of its arguments, the call counts as refused.
                if call in self._passed and call not in self._refused:
                    print(json.dumps({"call": call, "outcome": "passes"}))
                elif call in self._refused:
                    print(json.dumps({"call": call, "outcome": "refused", "why": self._refused[call]}))
                else:
                    missing.append(call)
        if missing:
            raise AssertionError(f"no result of {', '.join(missing)}")
        print(json.dumps({"end": True}))


class _Watched:
    def __init__(self, surface, name, target, public):
        self._surface, self.name, self._target, self._public = surface, name, target, public

    def __getattr__(self, method):
        value = getattr(self._target, method)
        return _Call(self._surface, f"{self.name}.{method}", value) if method in self._public else value


class _Call:
    def __init__(self, surface, name, call):
        self._surface, self.name, self._call = surface, name, call

    def __call__(self, *arguments, **named):
        try:
            result = self._call(*arguments, **named)
        except Exception as error:
            # The SDK's error text may not contain the response of the service.
            print(f"{self.name}: {error} {_body(error)}", file=sys.stderr)
            raise
        self._surface.passed(self.name)
        return result


def _body(error):
    response = getattr(error, "response", None)
    for name in ("text", "content"):
        value = getattr(response, name, None)
        value = value() if callable(value) else value
        if value:
            return value if isinstance(value, str) else value.decode(errors="replace")
    return ""


def same(what, found, expected):
    """Raises AssertionError if the two values differ."""
    if found != expected:
        raise AssertionError(f"{what}: {found!r} instead of {expected!r}")


def fails(pattern, call, *arguments, **named):
    """Makes a call that the service refuses. The error must match the pattern."""
    try:
        result = call(*arguments, **named)
        # The SDK requests a page of a list only when the program reads the page.
        result = list(result) if inspect.isgenerator(result) or hasattr(result, "by_page") else result
    except Exception as error:
        text = " ".join(f"{error!r} {error} {_body(error)}".split())
        if not re.search(pattern, text):
            raise AssertionError(f"{call.name} failed, but the error does not match /{pattern}/: {text}") from error
        return
    raise AssertionError(f"{call.name} did not fail: {result!r}")
