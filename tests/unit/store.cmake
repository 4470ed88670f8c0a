# SPDX-License-Identifier: Apache-2.0
# The database: opening and refusing files, migrations, decisions, ports, the audit chain, faults of disk and process.
wormhole_unit_test(test_store_open ${CMAKE_CURRENT_LIST_DIR}/test_store_open.c
  ${CMAKE_CURRENT_LIST_DIR}/store_support.c LIBS sup_store)
wormhole_unit_test(test_store_decide ${CMAKE_CURRENT_LIST_DIR}/test_store_decide.c
  ${CMAKE_CURRENT_LIST_DIR}/store_support.c LIBS sup_store)
wormhole_unit_test(test_store_faults ${CMAKE_CURRENT_LIST_DIR}/test_store_faults.c
  ${CMAKE_CURRENT_LIST_DIR}/store_support.c LIBS sup_store)
wormhole_unit_test(test_audit ${CMAKE_CURRENT_LIST_DIR}/test_audit.c
  ${CMAKE_CURRENT_LIST_DIR}/store_support.c LIBS sup_store)
wormhole_unit_test(test_utf8 ${CMAKE_CURRENT_LIST_DIR}/test_utf8.c)
