# SPDX-License-Identifier: Apache-2.0
# Handshake messages: the parsers alone, and both state machines against an end that can do the cryptography. The kept
# corpus comes from crypto_corpus.py.
foreach(name IN ITEMS fuzz_hs_message fuzz_handshake_server fuzz_handshake_client)
  wormhole_fuzz_test(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c LIBS crypto_parts)
  target_compile_definitions(${name} PRIVATE WORMHOLE_VECTORS="${PROJECT_SOURCE_DIR}/tests/vectors")
endforeach()
