# SPDX-License-Identifier: Apache-2.0
"""
Fixtures of the tests on real processes: `hosts` starts servers and clients and always ends them; a failed test's
report holds all their logs.
"""
import pytest

import tunnel


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
    complaints = everything.sanitizer_complaints()
    everything.remove()
    assert not complaints, complaints
