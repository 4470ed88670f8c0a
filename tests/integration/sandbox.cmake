# SPDX-License-Identifier: Apache-2.0
# The workers' own walls and the dialer, each process driven on its own.
wormhole_python_test(integration.dialer ${CMAKE_CURRENT_SOURCE_DIR}/test_dialer.py LABELS integration)
