# SPDX-License-Identifier: Apache-2.0
# Unit tests of worker-crypto, the vectors it shares with the Python peer, and the Python IPC codec that the tests of
# processes use.
wormhole_python_test(unit.ipc_python ${PROJECT_SOURCE_DIR}/tests/support/test_ipc_codec.py LABELS unit TIMEOUT 60)
wormhole_python_test(unit.peer_python ${PROJECT_SOURCE_DIR}/tests/peer/test_peer.py LABELS unit TIMEOUT 60)
add_test(NAME unit.vectors_python COMMAND /usr/bin/python3 -B ${PROJECT_SOURCE_DIR}/tests/vectors/make.py --check)
set_tests_properties(unit.vectors_python PROPERTIES LABELS unit TIMEOUT 60)

foreach(name IN ITEMS crypto_primitives handshake_vectors hs_message rsa_key handshake_states)
  wormhole_unit_test(${name} test_${name}.c crypto_support.c LIBS crypto_parts PkgConfig::JANSSON)
  target_compile_definitions(${name} PRIVATE WORMHOLE_VECTORS="${PROJECT_SOURCE_DIR}/tests/vectors")
endforeach()
# Suite 2 with a stand-in for what only OpenSSL 3.5 has; the real kem.c is not linked here.
wormhole_unit_test(handshake_suite2 test_handshake_suite2.c crypto_support.c kem_stand_in.c LIBS crypto_parts PkgConfig::JANSSON)
target_compile_definitions(handshake_suite2 PRIVATE WORMHOLE_VECTORS="${PROJECT_SOURCE_DIR}/tests/vectors")
