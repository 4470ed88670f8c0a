/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing fixed-size integers in byte buffers: little-endian for the IPC between our own
 * processes, big-endian for what crosses the network. No bounds checks here: callers check sizes first.
 */
#ifndef WORMHOLE_COMMON_WIRE_H
#define WORMHOLE_COMMON_WIRE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define WIRE_DEFINE(suffix, bits, to, from)                                                                  \
    static inline uint##bits##_t get_##suffix(const void *p)                                                 \
    {                                                                                                        \
        uint##bits##_t v;                                                                                    \
        memcpy(&v, p, sizeof v);                                                                             \
        return from(v);                                                                                      \
    }                                                                                                        \
    static inline void put_##suffix(void *p, uint##bits##_t v)                                               \
    {                                                                                                        \
        v = to(v);                                                                                           \
        memcpy(p, &v, sizeof v);                                                                             \
    }

WIRE_DEFINE(le16, 16, htole16, le16toh)
WIRE_DEFINE(le32, 32, htole32, le32toh)
WIRE_DEFINE(le64, 64, htole64, le64toh)
WIRE_DEFINE(be16, 16, htobe16, be16toh)
WIRE_DEFINE(be32, 32, htobe32, be32toh)
WIRE_DEFINE(be64, 64, htobe64, be64toh)

#undef WIRE_DEFINE

#endif
