# SPDX-License-Identifier: Apache-2.0
# Unit tests of common/.
wormhole_unit_test(test_ipc test_ipc.c)
wormhole_unit_test(test_text test_text.c)
