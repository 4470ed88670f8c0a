# SPDX-License-Identifier: Apache-2.0
# Rules that no compiler checks: link lists, includes, banned functions, the first lines of files.
if(NOT WORMHOLE_SANITIZE)
  wormhole_python_test(unit.link_lists ${CMAKE_CURRENT_LIST_DIR}/test_link_lists.py LABELS unit)
endif()
wormhole_python_test(unit.source_rules ${CMAKE_CURRENT_LIST_DIR}/test_source_rules.py LABELS unit)

# Takes both processors for a minute or two.
if(NOT WORMHOLE_SANITIZE AND NOT WORMHOLE_FUZZ)
  add_test(NAME static.analysis COMMAND ${PROJECT_SOURCE_DIR}/tests/static --build ${PROJECT_BINARY_DIR})
  set_tests_properties(static.analysis PROPERTIES LABELS static TIMEOUT 900 PROCESSORS 2)
endif()
