# SPDX-License-Identifier: Apache-2.0
# The crypto worker as a real process: the independent peer in Python, and keys on disk.
wormhole_python_test(integration.crypto_server ${CMAKE_CURRENT_SOURCE_DIR}/test_crypto_server.py LABELS integration TIMEOUT 300)
wormhole_python_test(integration.crypto_client ${CMAKE_CURRENT_SOURCE_DIR}/test_crypto_client.py LABELS integration TIMEOUT 300)
wormhole_python_test(integration.crypto_keys ${CMAKE_CURRENT_SOURCE_DIR}/test_crypto_keys.py LABELS integration TIMEOUT 180)
wormhole_python_test(integration.protocol_peer ${CMAKE_CURRENT_SOURCE_DIR}/test_protocol_peer.py LABELS integration TIMEOUT 300)

# The models of docs/formal. Spin is a Debian package; ProVerif is not, and its test says so when it is skipped.
find_program(SPIN_PROGRAM spin)
if(SPIN_PROGRAM)
  add_test(NAME formal.spin COMMAND ${PROJECT_SOURCE_DIR}/docs/formal/run-spin)
  set_tests_properties(formal.spin PROPERTIES LABELS formal TIMEOUT 600)
endif()
add_test(NAME formal.proverif COMMAND ${PROJECT_SOURCE_DIR}/docs/formal/run-proverif)
set_tests_properties(formal.proverif PROPERTIES LABELS formal TIMEOUT 3000 SKIP_RETURN_CODE 77)
