# SPDX-License-Identifier: Apache-2.0
# Unit tests of worker-crypto, and the Python IPC codec that the tests of processes use.
add_test(NAME unit.ipc_python COMMAND /usr/bin/python3 -m pytest -q -p no:cacheprovider
  ${PROJECT_SOURCE_DIR}/tests/support/test_ipc_codec.py)
set_tests_properties(unit.ipc_python PROPERTIES LABELS unit TIMEOUT 60)
