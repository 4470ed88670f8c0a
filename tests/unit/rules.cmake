# SPDX-License-Identifier: Apache-2.0
# Rules that no compiler checks: link lists, includes, banned functions, the first lines of files.
if(NOT WORMHOLE_SANITIZE)
  wormhole_python_test(unit.link_lists ${CMAKE_CURRENT_LIST_DIR}/test_link_lists.py LABELS unit)
endif()
wormhole_python_test(unit.source_rules ${CMAKE_CURRENT_LIST_DIR}/test_source_rules.py LABELS unit)
