# SPDX-License-Identifier: Apache-2.0
# Whole tunnels: real servers, clients and what stands between them.
wormhole_python_test(integration.tunnel ${CMAKE_CURRENT_SOURCE_DIR}/test_tunnel.py LABELS integration asan TIMEOUT 600)
wormhole_python_test(integration.environment ${CMAKE_CURRENT_SOURCE_DIR}/test_environment.py LABELS integration asan TIMEOUT 900)
wormhole_python_test(integration.limits ${CMAKE_CURRENT_SOURCE_DIR}/test_limits.py LABELS integration TIMEOUT 900)
wormhole_python_test(integration.proxies ${CMAKE_CURRENT_SOURCE_DIR}/test_proxies.py LABELS integration TIMEOUT 900)
wormhole_python_test(integration.names ${CMAKE_CURRENT_SOURCE_DIR}/test_names.py LABELS integration asan TIMEOUT 600)
wormhole_python_test(integration.reload ${CMAKE_CURRENT_SOURCE_DIR}/test_reload.py LABELS integration TIMEOUT 600)
wormhole_python_test(integration.reconnect ${CMAKE_CURRENT_SOURCE_DIR}/test_reconnect.py LABELS integration asan TIMEOUT 900)
