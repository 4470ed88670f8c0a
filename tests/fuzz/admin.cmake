# SPDX-License-Identifier: Apache-2.0
# The admin API's HTTP requests, from the first byte to the question that would be asked.
wormhole_fuzz_test(fuzz_admin ${CMAKE_CURRENT_LIST_DIR}/fuzz_admin.c LIBS net_admin)
