# SPDX-License-Identifier: Apache-2.0
# What operators and their tools touch: admin API, control socket, audit, metrics.
foreach(name IN ITEMS admin_api control audit metrics)
  wormhole_python_test(integration.${name} ${CMAKE_CURRENT_SOURCE_DIR}/test_${name}.py LABELS integration TIMEOUT 300)
endforeach()
