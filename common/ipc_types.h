/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The enumerations that travel in IPC messages (common/messages.def) as u8 or u16. Numbers are fixed: they
 * also appear in metrics and logs. Receivers check the range before use. Nothing but enumerations belongs
 * here.
 */
#ifndef WORMHOLE_COMMON_IPC_TYPES_H
#define WORMHOLE_COMMON_IPC_TYPES_H

enum role {
    ROLE_SUPERVISOR = 0,
    ROLE_CRYPTO = 1,
    ROLE_SESSION = 2,
    ROLE_DIALER = 3,
    ROLE_ADMIN = 4,
    ROLE_K8S = 5,
    ROLE_COUNT
};

enum side { SIDE_SERVER = 1, SIDE_CLIENT = 2 };

enum sandbox_mode { SANDBOX_REQUIRED = 1, SANDBOX_BEST_EFFORT = 2, SANDBOX_OFF_FOR_SANITIZER = 3 };

/* Sandbox layers that are in force: bits of WORKER_READY.layers and ROW_PROCESS.layers. */
enum sandbox_layer {
    LAYER_CHROOT = 1 << 0,
    LAYER_UID = 1 << 1,
    LAYER_CAPABILITIES = 1 << 2,
    LAYER_RLIMITS = 1 << 3,
    LAYER_UNDUMPABLE = 1 << 4,
    LAYER_NO_NEW_PRIVS = 1 << 5,
    LAYER_LANDLOCK_FILES = 1 << 6,
    LAYER_LANDLOCK_NET = 1 << 7,
    LAYER_LANDLOCK_SCOPES = 1 << 8,
    LAYER_SECCOMP = 1 << 9,
};

enum log_level { LEVEL_ERROR = 0, LEVEL_WARN = 1, LEVEL_INFO = 2, LEVEL_DEBUG = 3, LEVEL_TRACE = 4 };

/* The supervisor's word about a key. */
enum verdict { VERDICT_PENDING = 1, VERDICT_APPROVED = 2, VERDICT_DECLINED = 3 };

/* Why a key is declined, or an app refused; on the wire in DECLINED and APP_ACK too. */
enum refusal {
    REFUSAL_NONE = 0,
    REFUSAL_DECLINED = 1,   /* an operator said no */
    REFUSAL_REVOKED = 2,    /* was approved once, is not any more */
    REFUSAL_SUPERSEDED = 3, /* rotated away */
    REFUSAL_BUSY = 4,       /* too many are waiting for a decision; come back later */
    REFUSAL_EXPIRED = 5,    /* nobody decided in time */
    REFUSAL_NAME_TAKEN = 6, /* the name belongs to another key */
    REFUSAL_BAD_NAME = 7,
    REFUSAL_NO_PORT = 8,   /* no free port in the range */
    REFUSAL_DUPLICATE = 9, /* two apps of one name */
    REFUSAL_LIMIT = 10,    /* too many apps */
    REFUSAL_INTERNAL = 11,
};

/* Which way traffic goes on the wire. */
enum direction { DIRECTION_C2S = 0, DIRECTION_S2C = 1 };

/* Why a handshake failed or a session ended: HANDSHAKE_FAILED.code, HS_FAIL.code, SESSION_END.code. */
enum end_code {
    END_NORMAL = 0,
    END_PEER_CLOSED = 1, /* CLOSE_NOTIFY or GOAWAY came */
    END_TRUNCATED = 2,   /* the connection ended without a word */
    END_TIMEOUT = 3,     /* dead peer, or handshake deadline */
    END_HTTP = 4,        /* the upgrade failed (wrong path, status, header) */
    END_WEBSOCKET = 5,
    END_PROTOCOL = 6, /* handshake, record or frame broke the rules */
    END_BAD_TAG = 7,
    END_DECLINED = 8,
    END_SERVER_IDENTITY = 9, /* client: the server is not the one that it knows */
    END_BAD_KEY = 10,        /* unacceptable RSA key or failed proof */
    END_TLS = 11,
    END_PROXY = 12,
    END_CONNECT = 13,  /* DNS or connect failed */
    END_LIMIT = 14,    /* hard limit of a key, memory or budget */
    END_REPLACED = 15, /* the same client came back on a new connection */
    END_STOPPING = 16, /* this side is shutting down */
    END_INTERNAL = 17,
    END_KNOWN_SERVER_IO = 18, /* client: could not store or read the server's identity */
    END_CODE_COUNT
};

/* Why a dial failed: DIAL_FAILED.code, and OPEN_FAIL on the wire. */
enum dial_code {
    DIAL_UNKNOWN_APP = 1,
    DIAL_REFUSED = 2,
    DIAL_TIMEOUT = 3,
    DIAL_UNREACHABLE = 4,
    DIAL_DNS = 5,
    DIAL_LIMIT = 6,
    DIAL_INTERNAL = 7,
};

enum query {
    QUERY_APPS = 1,
    QUERY_REQUESTS = 2,
    QUERY_PEERS = 3,
    QUERY_AUDIT = 4,  /* after = last seq seen */
    QUERY_STATUS = 5, /* ROW_FACT, then ROW_PROCESS */
    QUERY_METRICS = 6,
    QUERY_KEYS = 7,
    QUERY_READY = 8, /* one ROW_FACT "ready" yes|no with reasons */
};

enum decision {
    DECISION_ACCEPT = 1,
    DECISION_DECLINE = 2,
    DECISION_REVOKE = 3,     /* subject: a peer's name or fingerprint */
    DECISION_PREAPPROVE = 4, /* subject: fingerprint; name: the name it will carry */
    DECISION_ROTATE_KEY = 5, /* reserved */
};

enum outcome {
    OUTCOME_DONE = 1,
    OUTCOME_NOT_FOUND = 2,
    OUTCOME_DENIED = 3,      /* wrong or missing token */
    OUTCOME_CONFLICT = 4,    /* for example already approved, or the name is taken */
    OUTCOME_BAD = 5,         /* malformed question */
    OUTCOME_FAILED = 6,      /* for example the database could not be written */
    OUTCOME_UNSUPPORTED = 7, /* not on this side, or not yet */
};

enum admin_listener_kind { ADMIN_LISTENER_API = 1, ADMIN_LISTENER_METRICS = 2 };

#endif
