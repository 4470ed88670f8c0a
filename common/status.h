/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Result codes of every fallible function in Wormhole.
 *
 * Compare with `== OK`, never by truth value: OK is not zero-is-true by luck but by name. This header must
 * stay free of I/O and of policy; a code says what happened, the caller decides what it means.
 */
#ifndef WORMHOLE_COMMON_STATUS_H
#define WORMHOLE_COMMON_STATUS_H

enum status {
    OK = 0,
    ERR_AGAIN,      /* would block, or needs more input; try later */
    ERR_EOF,        /* the other end closed in an orderly way */
    ERR_IO,         /* a system call failed; errno says how */
    ERR_NOMEM,      /* allocation failed */
    ERR_FORMAT,     /* malformed input */
    ERR_SIZE,       /* input or value too long, too short, out of range */
    ERR_TYPE,       /* unknown message, frame or field type */
    ERR_PERMIT,     /* known, but not allowed from this sender in this state */
    ERR_DESCRIPTOR, /* a file descriptor is missing, unexpected or of the wrong kind */
    ERR_FULL,       /* a bounded queue or table is full */
    ERR_NOT_FOUND,
    ERR_EXISTS,
    ERR_AUTH,        /* a signature, tag, token or proof is wrong */
    ERR_CRYPTO,      /* the crypto library failed for another reason */
    ERR_UNSUPPORTED, /* the kernel, library or peer cannot do this */
    ERR_TIMEOUT,
    ERR_WRONG_STATE, /* a defect of ours or of a peer (not ERR_STATE: OpenSSL has a type of that name) */
    ERR_CONFLICT,    /* somebody else owns it already */
    ERR_CONFIG,      /* configuration is wrong */
    ERR_REFUSED,     /* the other side said no */
    ERR_LIMIT,       /* a budget or quota is used up */
};

/* A short English phrase for a code, for messages; never NULL. */
const char *status_text(enum status code);

#endif
