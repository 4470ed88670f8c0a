# SPDX-License-Identifier: Apache-2.0
# Unit tests of common/.
wormhole_unit_test(test_ipc test_ipc.c)
wormhole_unit_test(test_text test_text.c)

# docs/ipc.md must hold the table that messages.def makes.
add_executable(ipc_table ipc_table.c)
target_link_libraries(ipc_table PRIVATE common)
add_test(NAME docs.ipc_table COMMAND ipc_table --check ${PROJECT_SOURCE_DIR}/docs/ipc.md)
set_tests_properties(docs.ipc_table PROPERTIES LABELS unit)
