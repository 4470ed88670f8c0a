# SPDX-License-Identifier: Apache-2.0
# Large and many streams through a real tunnel, every byte compared.
add_executable(wormhole-flow ${CMAKE_CURRENT_LIST_DIR}/flow.c)
target_link_libraries(wormhole-flow PRIVATE wormhole_flags)
set_target_properties(wormhole-flow PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
wormhole_python_test(integration.flow ${CMAKE_CURRENT_LIST_DIR}/test_flow.py LABELS integration TIMEOUT 900)
wormhole_python_test(integration.tunnel_port ${CMAKE_CURRENT_LIST_DIR}/test_tunnel_port.py LABELS integration TIMEOUT 600)
