"""Keeps the books about an SDK's surface: which calls passed, which were refused, which cannot be.

Every public method of what is watched has to be in one of the three lists at the end; one that
was forgotten is a failure, so that a newer SDK cannot bring calls that nobody looks at.
"""

import inspect
import json
import re
import sys


class Surface:
    def __init__(self):
        self._passed = set()
        self._refused = {}
        self._cannot = {}
        self._watched = {}

    def watch(self, name, target, only=None):
        """The same object, whose calls are counted under this name."""
        public = {
            method for method, value in inspect.getmembers(type(target), callable)
            if not method.startswith("_") and (only is None or method in only)
        }
        self._watched[name] = public
        return _Watched(self, name, target, public)

    def refused(self, why, says, call, *arguments, **named):
        """A call that the emulator answers with an error, which must contain these words."""
        try:
            result = call(*arguments, **named)
            # What comes in pages is asked for when it is looked at.
            result = list(result) if inspect.isgenerator(result) or hasattr(result, "by_page") else result
        except Exception as error:
            text = " ".join(f"{error!r} {error} {_body(error)}".split())
            if not re.search(says, text):
                raise AssertionError(f"{call.name} was refused, but not with /{says}/: {text}") from error
            self._refused[call.name] = why
            return
        raise AssertionError(f"{call.name} was not refused: {result!r}")

    def cannot(self, why, *calls):
        """Calls that cannot be made at all."""
        for call in calls:
            self._cannot[call.name] = why

    def passed(self, name):
        self._passed.add(name)

    def report(self):
        """Says everything, one JSON object a line; fails if a call is missing."""
        forgotten = []
        for name, methods in self._watched.items():
            for method in sorted(methods):
                call = f"{name}.{method}"
                # What is refused with some arguments is not listed as passing.
                if call in self._passed and call not in self._refused:
                    print(json.dumps({"call": call, "outcome": "passes"}))
                elif call in self._refused:
                    print(json.dumps({"call": call, "outcome": "refused", "why": self._refused[call]}))
                elif call in self._cannot:
                    print(json.dumps({"call": call, "outcome": "cannot", "why": self._cannot[call]}))
                else:
                    forgotten.append(call)
        if forgotten:
            raise AssertionError(f"nobody looked at {', '.join(forgotten)}")
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
            # The SDK's own text may leave out what the service has said.
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
    """Two values that must be equal."""
    if found != expected:
        raise AssertionError(f"{what}: {found!r} instead of {expected!r}")


def fails(says, call, *arguments, **named):
    """A call that works, with something that is wrong; the error must contain these words."""
    try:
        result = call(*arguments, **named)
        result = list(result) if hasattr(result, "by_page") else result
    except Exception as error:
        text = " ".join(f"{error!r} {error} {_body(error)}".split())
        if not re.search(says, text):
            raise AssertionError(f"{call.name} failed, but not with /{says}/: {text}") from error
        return
    raise AssertionError(f"{call.name} did not fail: {result!r}")
