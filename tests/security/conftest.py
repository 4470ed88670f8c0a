# SPDX-License-Identifier: Apache-2.0
"""
The fixtures of the integration tests (`hosts`) for the security tests too, and their Python peer on the path.
"""
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
for folder in ("support", "peer", "security"):
    sys.path.insert(0, str(TESTS / folder))

import tunnel  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    setattr(item, "report_" + report.when, report)
    hosts = item.funcargs.get("hosts") if hasattr(item, "funcargs") else None
    if report.when == "call" and report.failed and hosts is not None:
        report.sections.append(("logs of the processes", hosts.report()))


@pytest.fixture
def hosts():
    everything = tunnel.Hosts()
    yield everything
    everything.close()
    everything.remove()


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than a few seconds")
