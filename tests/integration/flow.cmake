# SPDX-License-Identifier: Apache-2.0
# Large and many streams through a real tunnel, every byte compared; and strangers on the tunnel port.
add_executable(wormhole-flow ${CMAKE_CURRENT_LIST_DIR}/flow.c)
target_link_libraries(wormhole-flow PRIVATE wormhole_flags)
wormhole_python_test(integration.flow ${CMAKE_CURRENT_LIST_DIR}/test_flow.py LABELS integration TIMEOUT 900)
set_property(TEST integration.flow APPEND PROPERTY ENVIRONMENT "WORMHOLE_FLOW=$<TARGET_FILE:wormhole-flow>")
wormhole_python_test(integration.tunnel_port ${CMAKE_CURRENT_LIST_DIR}/test_tunnel_port.py LABELS integration TIMEOUT 600)
