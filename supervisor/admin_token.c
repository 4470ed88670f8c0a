/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See admin_token.h. Must never log the token or keep a copy of it.
 */
#include "supervisor/admin_token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

/* The file may end in a newline or carry a comment below; what is read past this is no token anyway. */
#define FILE_BYTES (ADMIN_TOKEN_MAX + 64)

__attribute__((format(printf, 3, 4))) static enum status fail(struct config_error *error, const char *path,
                                                              const char *format, ...)
{
    char what[300];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    (void)snprintf(error->text, sizeof error->text, "admin-token-file %.150s: %s", path, what);
    return ERR_CONFIG;
}

static enum status read_file(const char *path, char *out, size_t cap, size_t *len, struct config_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(error, path, "cannot be read: %s", strerror(errno));
    struct stat st;
    enum status status = OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        status = fail(error, path, "is not a regular file");
    else if ((st.st_mode & (S_IROTH | S_IWOTH)) != 0)
        status =
            fail(error, path, "everybody may %s it (mode %04o): run chmod 600 on it and put a new token in",
                 (st.st_mode & S_IWOTH) != 0 ? "change" : "read", st.st_mode & 07777u);
    ssize_t n = status == OK ? read(fd, out, cap) : 0;
    if (n < 0)
        status = fail(error, path, "cannot be read: %s", strerror(errno));
    (void)close(fd);
    if (status == OK)
        *len = (size_t)n;
    return status;
}

static enum status take_token(struct admin_token *token, const char *path, const char *text, size_t len,
                              struct config_error *error)
{
    const char *end = memchr(text, '\n', len);
    if (end == NULL)
        end = text + len;
    while (text < end && (*text == ' ' || *text == '\t'))
        text++;
    while (end > text && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    size_t n = (size_t)(end - text);
    if (n < ADMIN_TOKEN_MIN)
        return fail(
            error, path,
            "has a token of %zu characters, at least %u are needed: make one with openssl rand -hex 32", n,
            ADMIN_TOKEN_MIN);
    if (n > ADMIN_TOKEN_MAX)
        return fail(error, path, "has a token of more than %u characters", ADMIN_TOKEN_MAX);
    for (size_t i = 0; i < n; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            return fail(error, path, "has a blank or a character in its token that is not printable ASCII");
    }
    (void)SHA256((const unsigned char *)text, n, token->hash);
    token->set = true;
    return OK;
}

enum status admin_token_load(struct admin_token *token, const char *path, struct config_error *error)
{
    char text[FILE_BYTES] = {0};
    size_t len = 0;
    *token = (struct admin_token){.set = false};
    if (path == NULL || path[0] == '\0')
        return OK;
    enum status status = read_file(path, text, sizeof text, &len, error);
    if (status == OK)
        status = take_token(token, path, text, len, error);
    OPENSSL_cleanse(text, sizeof text);
    return status;
}

bool admin_token_matches(const struct admin_token *token, const char *candidate)
{
    uint8_t hash[sizeof token->hash];
    /* Hashes have one length, so that neither the length nor a common beginning shows in the time. */
    (void)SHA256((const unsigned char *)candidate, strlen(candidate), hash);
    return token->set && CRYPTO_memcmp(hash, token->hash, sizeof hash) == 0;
}
