# SPDX-License-Identifier: Apache-2.0
# The operators' side: HTTP requests and server, the admin token, the control socket, what the kernel says of processes.
wormhole_unit_test(test_http_request ${CMAKE_CURRENT_LIST_DIR}/test_http_request.c LIBS net_admin)
wormhole_unit_test(test_http_server ${CMAKE_CURRENT_LIST_DIR}/test_http_server.c LIBS net_admin)
wormhole_unit_test(test_control_parts ${CMAKE_CURRENT_LIST_DIR}/test_control_parts.c LIBS sup_parts)
