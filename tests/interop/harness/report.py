"""Prints the results as a table, and the output of each failed case."""

from .cases import ServiceCase, scenarios
from .clients import CLIENTS

_TAIL = 3000


def show(results):
    """Prints the results. Returns the exit code."""
    failed = [result for result in results if result.problem]
    for result in failed:
        print(f"\nFAILED {result.case.name}: {result.problem}\n{result.output[-_TAIL:]}")
    print()
    for row in _table([result for result in results if not isinstance(result.case, ServiceCase)]):
        print(row)
    for row in _services([result for result in results if isinstance(result.case, ServiceCase)]):
        print(row)
    passed = len(results) - len(failed)
    # The harness cannot skip a case.
    print(f"\n{passed} passed, {len(failed)} failed, 0 skipped")
    return 1 if failed else 0


def _services(results):
    if results:
        yield "\n" + "service SDK".ljust(37) + "calls that pass".rjust(15) + "refused by design".rjust(20) + "impossible".rjust(13)
    for result in results:
        counts = [sum(call["outcome"] == it for call in result.calls) for it in ("passes", "refused", "cannot")]
        texts = [str(counts[0]).rjust(15), str(counts[1]).rjust(20), str(counts[2]).rjust(13)]
        yield f"{result.case.sdk} {result.case.package}".ljust(37) + "".join(texts) + f"   {_cell(result)}"


def _table(results):
    if not results:
        return
    cells = {(r.case.scenario.label, r.case.client.label): r for r in results}
    columns = [c.label for c in CLIENTS if any(r.case.client == c for r in results)]
    rows = [s.label for s in scenarios() if any(r.case.scenario == s for r in results)]
    first = max(len(row) for row in rows)
    width = max(len(column) for column in columns) + 2
    yield " " * first + "".join(column.rjust(width) for column in columns)
    for row in rows:
        texts = [_cell(cells.get((row, column))) for column in columns]
        yield row.ljust(first) + "".join(text.rjust(width) for text in texts)


def _cell(result):
    if result is None:
        return "-"
    return f"{'FAILED' if result.problem else 'pass'} {result.seconds:.1f} s"
