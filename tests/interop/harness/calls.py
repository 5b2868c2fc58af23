"""Compares the results of the calls of a service SDK with docs/interop.md.

The page has a section for each SDK. For example, a section is between `<!-- calls: python dps -->` and
`<!-- end -->`. The section must be equal to the output of `render`. The comparison fails if a call
passes and the page does not list it. It also fails if a listed call does not pass.
"""

import json
import threading
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "interop.md"

# If true, writes the page. Otherwise compares it.
writes = False
_page_lock = threading.Lock()


def check(case, code, stdout, installed):
    """Checks the output of the program. Returns the problem (None if there is none) and the recorded calls."""
    lines = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]
    calls = [line for line in lines if "call" in line]
    if code is None:
        return "did not end in time", calls
    if code != 0:
        return f"exit code {code}", calls
    if not lines or lines[-1] != {"end": True}:
        return "ended before its last line", calls
    section = render(case, calls, installed.version(case.sdk, case.package))
    with _page_lock:
        page = PAGE.read_text()
        before, found, after = _cut(page, case.section)
        if found is None:
            return f"docs/interop.md has no section `calls: {case.section}`", calls
        if writes:
            PAGE.write_text(before + section + after)
        elif found != section:
            return f"docs/interop.md lists other results; --write-calls writes:\n{section}", calls
    return None, calls


def render(case, calls, version):
    """Returns the section of the page that lists these calls."""
    language = {"python": "Python", "node": "Node"}[case.sdk]
    text = f"\n### {language} `{case.package}` {version}\n\n| of | these pass |\n|---|---|\n"
    passing = [call["call"] for call in calls if call["outcome"] == "passes"]
    for name, methods in _by_owner(passing):
        text += f"| `{name}` | {methods} |\n"
    reasons = {}
    for call in calls:
        if call["outcome"] != "passes":
            reasons.setdefault(call["why"], []).append(call["call"])
    if reasons:
        text += "\n| these do not | because |\n|---|---|\n"
    for why, failing in sorted(reasons.items()):
        names = "; ".join(f"`{name}`: {methods}" for name, methods in _by_owner(failing))
        text += f"| {names} | {why} |\n"
    return text + "\n"


def _by_owner(calls):
    """Groups calls by the object to which they belong. The result does not depend on the order of the calls."""
    owners = {}
    for call in sorted(calls):
        owner, _, method = call.rpartition(".")
        owners.setdefault(owner, []).append(f"`{method}`")
    return [(owner, ", ".join(methods)) for owner, methods in owners.items()]


def _cut(page, section):
    begin, end = f"<!-- calls: {section} -->\n", "<!-- end -->"
    before, found, rest = page.partition(begin)
    if not found:
        return page, None, ""
    body, _, after = rest.partition(end)
    return before + begin, body, end + after
