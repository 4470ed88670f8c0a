# SPDX-License-Identifier: Apache-2.0
# What the API server sends, cut into objects and read; and kubeconfig files.
wormhole_fuzz_test(fuzz_k8s_stream ${CMAKE_CURRENT_LIST_DIR}/fuzz_k8s_stream.c LIBS k8s_parts)
wormhole_fuzz_test(fuzz_kubeconfig ${CMAKE_CURRENT_LIST_DIR}/fuzz_kubeconfig.c LIBS k8s_parts)
