/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See known_server.h: three lines of text, parsed by writing them again and comparing, so that there is one
 * form.
 */
#include "worker-crypto/known_server.h"

#include <stdio.h>
#include <string.h>

#include "common/fingerprint.h"
#include "common/protocol.h"

#define WHAT "memory of the server"

void known_server_format(const struct known_server *known, char *out)
{
    char text[FINGERPRINT_TEXT + 1];

    fingerprint_format(known->fingerprint, text);
    (void)snprintf(out, KNOWN_SERVER_MAX, "wormhole known server 1\nfingerprint %s\nsuite %u\n", text,
                   known->suite);
}

enum status known_server_parse(const char *text, size_t len, struct known_server *known)
{
    static const char head[] = "wormhole known server 1\nfingerprint ";
    static const char middle[] = "\nsuite ";
    struct known_server fresh = {.present = true};
    char fingerprint[FINGERPRINT_TEXT + 1], again[KNOWN_SERVER_MAX];
    size_t suite_at = sizeof head - 1 + FINGERPRINT_TEXT + sizeof middle - 1;

    if (len != suite_at + 2)
        return ERR_FORMAT;
    memcpy(fingerprint, text + sizeof head - 1, FINGERPRINT_TEXT);
    fingerprint[FINGERPRINT_TEXT] = '\0';
    fresh.suite = (uint8_t)(text[suite_at] - '0');
    if (fingerprint_parse(fingerprint, fresh.fingerprint) != OK || fresh.suite < SUITE_X25519 ||
        fresh.suite > SUITE_X25519_MLKEM768)
        return ERR_FORMAT;
    known_server_format(&fresh, again);
    if (strlen(again) != len || memcmp(again, text, len) != 0)
        return ERR_FORMAT;
    *known = fresh;
    return OK;
}

enum status known_server_load(const struct key_dir *dir, struct known_server *known, struct key_error *error)
{
    uint8_t text[KNOWN_SERVER_MAX];
    size_t len = sizeof text;
    uint64_t modified;

    enum status s = key_file_read(dir, KNOWN_SERVER_FILE, WHAT, text, &len, &modified, error);
    if (s == ERR_NOT_FOUND) {
        *known = (struct known_server){0};
        return OK;
    }
    if (s != OK)
        return s;
    if (known_server_parse((const char *)text, len, known) != OK) {
        (void)snprintf(error->text, sizeof error->text,
                       WHAT " %s/" KNOWN_SERVER_FILE
                            ": is corrupt; restore it, or remove it after checking the "
                            "server's fingerprint with its operator",
                       dir->path);
        return ERR_CONFIG;
    }
    return OK;
}

enum status known_server_save(const struct key_dir *dir, const struct known_server *known,
                              struct key_error *error)
{
    char text[KNOWN_SERVER_MAX];

    known_server_format(known, text);
    return key_file_write(dir, KNOWN_SERVER_FILE, WHAT, (const uint8_t *)text, strlen(text), true, error);
}
