# SPDX-License-Identifier: Apache-2.0
"""Markers of the Kubernetes tests."""


def pytest_configure(config):
    config.addinivalue_line("markers", "setup(**fields): fields of K8S_SETUP that a test's worker gets")
