/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting what the API server sends into objects while it arrives, so that memory holds one object at a time
 * and never a page: lines of a watch, and the items of a list. Only the shape is looked at here; what an
 * object means, and whether it is good JSON, is for whoever gets it.
 */
#ifndef WORMHOLE_K8S_SPLITTER_H
#define WORMHOLE_K8S_SPLITTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define SPLIT_OBJECT_MAX (4u << 20) /* bytes of one object; etcd stores at most about 1.5 MiB */
#define SPLIT_META_MAX (64u << 10)  /* bytes of a list's own metadata */
#define SPLIT_DEPTH_MAX 200

enum split_kind { SPLIT_LINE, SPLIT_ITEM, SPLIT_META };

/* One object; not NUL-terminated, valid during the call. ERR_* stops the splitter and is returned from feed.
 */
typedef enum status (*split_object)(void *arg, enum split_kind kind, const char *text, size_t len);

struct splitter {
    split_object object;
    void *arg;
    char *buffer;
    size_t len, cap, limit;
    bool overlong;    /* the object under way is being skipped */
    uint64_t skipped; /* objects that were longer than the limit */
    /* list only */
    bool list;
    bool in_string, escaped;
    bool seen_items, seen_meta, ended;
    uint8_t depth;
    uint8_t key_len;
    uint8_t position; /* enum list_position in splitter.c */
    uint8_t capture;  /* depth at which the object under way began; 0: none */
    enum split_kind capturing;
    char key[16];                    /* the last text at depth 1, cut */
    char close[SPLIT_DEPTH_MAX + 1]; /* which bracket closes each depth */
};

/* For a watch: newline-delimited objects. */
void splitter_init_lines(struct splitter *s, size_t limit, split_object object, void *arg);
/* For a list: {"metadata":{…},"items":[{…},…],…} in any order of members. */
void splitter_init_list(struct splitter *s, size_t limit, split_object object, void *arg);
void splitter_clear(struct splitter *s);

/*
 * Takes the next bytes. ERR_FORMAT: this is no list (lines never fail by themselves); ERR_SIZE: a list's
 * metadata or nesting is over its limit; ERR_NOMEM; or what `object` returned. An object over the limit is
 * skipped and counted. After a failure only clear is allowed.
 */
enum status splitter_feed(struct splitter *s, const char *bytes, size_t len);

/* The body has ended: a list must be whole (else ERR_FORMAT); a last line without a newline is dropped as
 * cut. */
enum status splitter_end(struct splitter *s);

#endif
