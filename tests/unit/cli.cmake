# SPDX-License-Identifier: Apache-2.0
# Configuration, option table, command line, and the JSON writer that the commands use.
wormhole_unit_test(test_json_write ${CMAKE_CURRENT_LIST_DIR}/test_json_write.c)
wormhole_unit_test(test_options ${CMAKE_CURRENT_LIST_DIR}/test_options.c LIBS sup_config)
wormhole_unit_test(test_yaml ${CMAKE_CURRENT_LIST_DIR}/test_yaml.c LIBS sup_config)
wormhole_unit_test(test_config ${CMAKE_CURRENT_LIST_DIR}/test_config.c LIBS sup_config)
wormhole_unit_test(test_args ${CMAKE_CURRENT_LIST_DIR}/test_args.c LIBS sup_parts)
wormhole_unit_test(test_output ${CMAKE_CURRENT_LIST_DIR}/test_output.c LIBS sup_parts)
