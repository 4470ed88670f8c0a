# SPDX-License-Identifier: Apache-2.0
# The decoder of the messages between processes.
wormhole_fuzz_test(fuzz_ipc ${CMAKE_CURRENT_LIST_DIR}/fuzz_ipc.c LIBS common)
