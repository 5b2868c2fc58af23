"""The fixtures `iothub_emulator` and `iothub_device`.

If a test that uses the emulator fails, the report contains what the emulator recorded during the test. The SDK often
reports only an unexpected failure; the emulator knows the reason.
"""

from __future__ import annotations

import itertools
import re
from typing import Any, Dict, Generator, Iterator

import pytest

from . import Device, Emulator, EmulatorError

#: Limits of the section in the report of a failed test.
_EVENTS = 50
#: Maximum length of a registration id, without the number.
_ID_MAX = 100

_EMULATOR = pytest.StashKey[Emulator]()
_NEXT_EVENT = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def iothub_emulator_options() -> Dict[str, Any]:
    """Arguments for `Emulator`. To change them, define a fixture with this name in conftest.py."""
    return {}


@pytest.fixture(scope="session")
def iothub_emulator(
    iothub_emulator_options: Dict[str, Any], pytestconfig: pytest.Config
) -> Iterator[Emulator]:
    """A DPS and a hub for the whole test session. Each worker of pytest-xdist has its own."""
    with Emulator(**iothub_emulator_options) as emulator:
        pytestconfig.stash[_EMULATOR] = emulator
        yield emulator
        del pytestconfig.stash[_EMULATOR]


@pytest.fixture(scope="session")
def _iothub_numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def iothub_device(
    iothub_emulator: Emulator,
    _iothub_numbers: Iterator[int],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Device]:
    """A new device for one test. Also sets the four variables `PROVISIONING_…` of Microsoft's samples."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:_ID_MAX]
    device = iothub_emulator.enroll(f"{name}-{next(_iothub_numbers)}")
    for variable, value in device.provisioning_variables.items():
        monkeypatch.setenv(variable, value)
    yield device
    device.remove()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    emulator = item.config.stash.get(_EMULATOR, None)
    if emulator is not None:
        try:
            item.stash[_NEXT_EVENT] = emulator.admin("GET", "api/events?format=json&from=latest")["next"]
        except EmulatorError:
            # The test itself finds that the emulator has ended.
            pass
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    emulator = item.config.stash.get(_EMULATOR, None)
    uses = "iothub_emulator" in getattr(item, "fixturenames", ())
    if emulator is None or not uses or report.when != "call" or not report.failed:
        return
    try:
        events = emulator.events(item.stash.get(_NEXT_EVENT, 0))
    except EmulatorError as error:
        report.sections.append(("hubward emulator", str(error)))
        return
    lines = [_line(event) for event in events[-_EVENTS:]]
    report.sections.append(("hubward emulator", "\n".join(lines) or "the emulator recorded nothing during this test"))


def _line(event: Dict[str, Any]) -> str:
    facts = [event["time"], event["kind"], event.get("source", ""), event.get("id", ""), event.get("message", "")]
    code = [str(event["code"])] if "code" in event else []
    return " ".join(it for it in [*facts[:4], *code, facts[4]] if it)
