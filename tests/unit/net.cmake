# SPDX-License-Identifier: Apache-2.0
# Unit tests of worker-net's session: websocket, records, upgrade, mux, streams, relay.
foreach(name IN ITEMS websocket http_upgrade tls)
  wormhole_unit_test(${name} test_${name}.c LIBS net_parts)
endforeach()
wormhole_unit_test(record test_record.c crypto_support.c LIBS net_parts crypto_parts PkgConfig::JANSSON)
target_compile_definitions(record PRIVATE WORMHOLE_VECTORS="${PROJECT_SOURCE_DIR}/tests/vectors")
foreach(name IN ITEMS mux mux_life mux_flow)
  wormhole_unit_test(${name} test_${name}.c mux_support.c LIBS net_parts)
endforeach()
wormhole_unit_test(pair test_pair.c pair_support.c LIBS net_parts)
