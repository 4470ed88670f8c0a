# SPDX-License-Identifier: Apache-2.0
# What a session reads: HTTP heads, websocket frames, records full of frames; and what `wormhole probe` reads. The kept corpus
# comes from net_corpus.py, the probe's from crypto_corpus.py.
foreach(name IN ITEMS fuzz_http_upgrade fuzz_websocket fuzz_mux fuzz_probe)
  wormhole_fuzz_test(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c LIBS net_parts)
endforeach()
