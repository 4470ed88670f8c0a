# SPDX-License-Identifier: Apache-2.0
# What a session reads: HTTP heads, websocket frames, and records full of frames. The kept corpus comes from net_corpus.py.
foreach(name IN ITEMS fuzz_http_upgrade fuzz_websocket fuzz_mux)
  wormhole_fuzz_test(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c LIBS net_parts)
endforeach()
