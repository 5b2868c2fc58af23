"""What a service SDK's program says of its calls, beside what docs/interop.md promises.

A section of that page stands between `<!-- calls: python dps -->` and `<!-- end -->`, and is exactly
what `render` makes of the calls: a call that begins to pass or to fail is noticed either way.
"""

import json
import threading
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "interop.md"

# Whether the page is written instead of compared.
writes = False
_writing = threading.Lock()


def judge(case, code, stdout, installed):
    """What is wrong with the program or its calls; None if nothing. And the calls."""
    lines = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]
    made = [line for line in lines if "call" in line]
    if code is None:
        return "did not end in time", made
    if code != 0:
        return f"exit code {code}", made
    if not lines or lines[-1] != {"end": True}:
        return "did not come to its end", made
    section = render(case, made, installed.version(case.sdk, case.package))
    with _writing:
        page = PAGE.read_text()
        before, found, after = _cut(page, case.section)
        if found is None:
            return f"docs/interop.md has no section `calls: {case.section}`", made
        if writes:
            PAGE.write_text(before + section + after)
        elif found != section:
            return f"docs/interop.md says something else of the calls; --write-calls writes:\n{section}", made
    return None, made


def render(case, made, version):
    """A section of the page."""
    language = {"python": "Python", "node": "Node"}[case.sdk]
    text = f"\n### {language} `{case.package}` {version}\n\n| of | these pass |\n|---|---|\n"
    passing = [call["call"] for call in made if call["outcome"] == "passes"]
    for name, methods in _by_owner(passing):
        text += f"| `{name}` | {methods} |\n"
    reasons = {}
    for call in made:
        if call["outcome"] != "passes":
            reasons.setdefault(call["why"], []).append(call["call"])
    if reasons:
        text += "\n| these do not | because |\n|---|---|\n"
    for why, calls in sorted(reasons.items()):
        names = "; ".join(f"`{name}`: {methods}" for name, methods in _by_owner(calls))
        text += f"| {names} | {why} |\n"
    return text + "\n"


def _by_owner(calls):
    """What has the calls, and their names; in an order that does not depend on who came first."""
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
