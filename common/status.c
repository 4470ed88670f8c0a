/* SPDX-License-Identifier: Apache-2.0 */
/*
 * English phrases for the result codes. Nothing else belongs here.
 */
#include "common/status.h"

const char *status_text(enum status code)
{
    switch (code) {
    case OK: return "ok";
    case ERR_AGAIN: return "not ready yet";
    case ERR_EOF: return "closed by the other end";
    case ERR_IO: return "input/output error";
    case ERR_NOMEM: return "out of memory";
    case ERR_FORMAT: return "malformed";
    case ERR_SIZE: return "wrong size";
    case ERR_TYPE: return "unknown type";
    case ERR_PERMIT: return "not permitted in this state";
    case ERR_DESCRIPTOR: return "missing or unexpected file descriptor";
    case ERR_FULL: return "queue full";
    case ERR_NOT_FOUND: return "not found";
    case ERR_EXISTS: return "exists already";
    case ERR_AUTH: return "authentication failed";
    case ERR_CRYPTO: return "crypto library error";
    case ERR_UNSUPPORTED: return "not supported";
    case ERR_TIMEOUT: return "timed out";
    case ERR_WRONG_STATE: return "wrong state";
    case ERR_CONFLICT: return "in conflict with another owner";
    case ERR_CONFIG: return "bad configuration";
    case ERR_REFUSED: return "refused";
    case ERR_LIMIT: return "limit reached";
    }
    return "unknown status";
}
