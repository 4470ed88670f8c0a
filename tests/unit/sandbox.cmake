# SPDX-License-Identifier: Apache-2.0
# The sandbox on its own: each role's filter over every system call, the layers and what is said about them.
if(NOT WORMHOLE_SANITIZE)
  wormhole_unit_test(test_sandbox_filters ${CMAKE_CURRENT_LIST_DIR}/test_sandbox_filters.c LIBS common_sandbox)
  wormhole_unit_test(test_sandbox ${CMAKE_CURRENT_LIST_DIR}/test_sandbox.c LIBS common_sandbox)
endif()
