# SPDX-License-Identifier: Apache-2.0
"""Rows that only Wormhole has: many peers, handshakes, approvals. Each knows Wormhole's command line and nothing
of its inside."""


def steps(bench, quick):
    """The row's key → a function that measures it and returns its part of the results."""
    del bench, quick
    return {}
