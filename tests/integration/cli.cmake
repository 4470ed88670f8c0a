# SPDX-License-Identifier: Apache-2.0
# The commands, on terminals and in pipes, against real servers.
wormhole_python_test(integration.cli ${CMAKE_CURRENT_SOURCE_DIR}/test_cli.py LABELS integration TIMEOUT 300)
