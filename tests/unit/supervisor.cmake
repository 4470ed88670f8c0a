# SPDX-License-Identifier: Apache-2.0
# The supervisor's parts that decide without a process: limits, ports, targets.
foreach(name IN ITEMS test_limits test_listeners test_client_target test_approvals)
  wormhole_unit_test(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c ${CMAKE_CURRENT_LIST_DIR}/supervisor_support.c
    LIBS sup_parts)
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_LIST_DIR})
endforeach()
