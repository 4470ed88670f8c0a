# SPDX-License-Identifier: Apache-2.0
# The crypto worker as a real process: the independent peer in Python, and keys on disk.
wormhole_python_test(integration.crypto_worker ${CMAKE_CURRENT_SOURCE_DIR}/test_crypto_worker.py LABELS integration TIMEOUT 300)
wormhole_python_test(integration.crypto_keys ${CMAKE_CURRENT_SOURCE_DIR}/test_crypto_keys.py LABELS integration TIMEOUT 180)
wormhole_python_test(integration.protocol_peer ${CMAKE_CURRENT_SOURCE_DIR}/test_protocol_peer.py LABELS integration TIMEOUT 300)
