# SPDX-License-Identifier: Apache-2.0
# The configuration file's reader.
wormhole_fuzz_test(fuzz_config ${CMAKE_CURRENT_LIST_DIR}/fuzz_config.c LIBS sup_config)
