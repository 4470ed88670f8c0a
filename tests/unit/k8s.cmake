# SPDX-License-Identifier: Apache-2.0
# Unit tests of worker-k8s: everything that needs no API server.
foreach(name IN ITEMS names splitter exposure kubeconfig render listwatch)
  wormhole_unit_test(k8s_${name} test_k8s_${name}.c LIBS k8s_parts)
endforeach()
