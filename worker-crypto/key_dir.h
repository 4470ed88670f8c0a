/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory that holds a private key: opened once, before the sandbox, and used through its descriptor
 * ever after. Files in it are read whole, checked for owner and mode, and written atomically. Must not know
 * what a file holds, and must never loosen or repair permissions by itself.
 */
#ifndef WORMHOLE_CRYPTO_KEY_DIR_H
#define WORMHOLE_CRYPTO_KEY_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/status.h"

#define KEY_FILE_MAX 16384u

struct key_dir {
    int fd; /* -1: not open */
    uid_t owner;
    char path[256];
};

/* One line for people: what, where, what to do. */
struct key_error {
    char text[640];
};

/*
 * Opens an existing directory that belongs to `owner` and is closed to everybody else (0700). ERR_CONFIG with
 * the error's text.
 */
enum status key_dir_open(struct key_dir *dir, const char *path, uid_t owner, struct key_error *error);
void key_dir_close(struct key_dir *dir);

/*
 * Reads a regular file of the owner's with no permissions for others. *len: in the room, out the size;
 * *modified: Unix seconds. ERR_NOT_FOUND (no text), ERR_CONFIG with text. `what` names it in the text
 * ("client key").
 */
enum status key_file_read(const struct key_dir *dir, const char *name, const char *what, uint8_t *buf,
                          size_t *len, uint64_t *modified, struct key_error *error);

/*
 * Writes a 0600 file: temporary file, fsync, rename, fsync of the directory. With replace false an existing
 * file stays and the answer is ERR_EXISTS. ERR_CONFIG with text.
 */
enum status key_file_write(const struct key_dir *dir, const char *name, const char *what, const uint8_t *data,
                           size_t len, bool replace, struct key_error *error);

#endif
