# SPDX-License-Identifier: Apache-2.0
"""The bench's parts: processes and places, the driver, the subjects, the method, the rows, the report.

Nothing in here may import the code under test: subjects are only ever started as a user would.
"""
