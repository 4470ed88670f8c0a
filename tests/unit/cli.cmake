# SPDX-License-Identifier: Apache-2.0
# Configuration, option table, command line, and the JSON writer that the commands use.
wormhole_unit_test(test_json_write ${CMAKE_CURRENT_LIST_DIR}/test_json_write.c)
