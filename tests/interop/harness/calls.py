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
    passing = {}
    for call in made:
        if call["outcome"] == "passes":
            name, _, method = call["call"].rpartition(".")
            passing.setdefault(name, []).append(f"`{method}`")
    for name, methods in passing.items():
        text += f"| `{name}` | {', '.join(methods)} |\n"
    other = [call for call in made if call["outcome"] != "passes"]
    if other:
        text += "\n| these do not | because |\n|---|---|\n"
        reasons = {}
        for call in other:
            reasons.setdefault(call["why"], []).append(f"`{call['call']}`")
        for why, names in reasons.items():
            text += f"| {', '.join(names)} | {why} |\n"
    return text + "\n"


def _cut(page, section):
    begin, end = f"<!-- calls: {section} -->\n", "<!-- end -->"
    before, found, rest = page.partition(begin)
    if not found:
        return page, None, ""
    body, _, after = rest.partition(end)
    return before + begin, body, end + after
