/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Approved keys, ports and the audit log, in sqlite. The only code that writes the database. Every decision
 * and its audit row are one transaction; nothing is reported as done before it is on disk. No policy: who may
 * decide is judged in decisions.c.
 */
#ifndef WORMHOLE_SUPERVISOR_STORE_H
#define WORMHOLE_SUPERVISOR_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/fingerprint.h"
#include "common/status.h"

struct store;

enum peer_status {
    PEER_PENDING = 1,
    PEER_APPROVED = 2,
    PEER_DECLINED = 3,
    PEER_REVOKED = 4,
    PEER_SUPERSEDED = 5
};
const char *peer_status_text(enum peer_status status);

struct store_peer {
    char fingerprint[FINGERPRINT_TEXT + 1];
    char name[64];
    enum peer_status status;
    uint16_t bits;
    uint8_t public_key[1024];
    size_t public_key_len;
    uint64_t first_seen, last_seen, decided_at; /* Unix seconds; 0 = never */
    char decided_by[129];
    char remote[65];
    char pairing_code[33];
    char superseded_by[FINGERPRINT_TEXT + 1];
};

/* Who does something, for the audit: kind is "control", "admin", "config", "system", "dummy". */
struct store_actor {
    const char *kind;
    const char *id;     /* "uid=0(root) pid=4711", "token", … */
    const char *remote; /* from where: "192.0.2.7:4711" of an HTTP client; NULL = on this machine */
};

struct store_audit_row {
    uint64_t seq, time_ms;
    char actor_kind[17], actor[129], action[33], fingerprint[FINGERPRINT_TEXT + 1], name[64], remote[65],
        detail[513];
    uint8_t previous[32], hash[32];
};

struct store_error {
    char text[512]; /* what is wrong, where, what to do */
};

/* Counted since store_open, for metrics. */
struct store_stats {
    uint64_t commits;   /* transactions that are on disk */
    uint64_t failures;  /* transactions and reads that the disk or another program made fail */
    uint64_t audit_seq; /* number of the newest audit row */
    uint64_t peers[6];  /* how many, by enum peer_status */
};

/*
 * Opens (and creates, and migrates) the database. read_only for a copied file, which is not changed.
 * ERR_CONFIG: it is not ours, is damaged, or is from a newer version; ERR_CONFLICT: another server has it
 * open; ERR_IO: cannot be opened or written. error->text is set on every failure.
 */
enum status store_open(const char *path, bool read_only, struct store **out, struct store_error *error);
void store_close(struct store *store);
/* The file's name, as given to store_open; belongs to the store. */
const char *store_path(const struct store *store);

/*
 * Text of the last failure of a call on this store, for people. Every call below may also fail with ERR_IO:
 * the disk is full or read-only, the file was replaced, another program holds it locked; nothing was changed
 * then.
 */
const char *store_last_error(const struct store *store);
/* ERR_IO: the counts of peers could not be read (the rest is filled in all the same). */
enum status store_stats(struct store *store, struct store_stats *out);

/* ERR_NOT_FOUND. By fingerprint, or by name (the approved one; else the newest). */
enum status store_peer_by_fingerprint(struct store *store, const char *fingerprint, struct store_peer *out);
enum status store_peer_by_name(struct store *store, const char *name, struct store_peer *out);
/* Is the name held by an approved key other than this one? */
bool store_name_taken(struct store *store, const char *name, const char *fingerprint);

/*
 * A key showed up and waits: inserts or refreshes the pending row (of `peer` the fingerprint, name, key,
 * bits, remote and pairing code count; times are now). A declined key stays declined (the caller judges its
 * age and calls this with `again` once it may ask again). New ones and changed names are audited ("request").
 * ERR_WRONG_STATE: the key is approved, revoked, superseded, or declined without `again`.
 */
enum status store_request_seen(struct store *store, const struct store_peer *peer, bool again);
/* Last time and address of a known peer; not audited, and not waited for (a power cut may lose it). */
enum status store_peer_seen(struct store *store, const char *fingerprint, const char *remote, uint64_t now);
/* A pending row whose client never came back: removed, audited ("expire"). ERR_NOT_FOUND, ERR_WRONG_STATE. */
enum status store_request_expired(struct store *store, const char *fingerprint);

/*
 * Decisions, each with its audit row in one transaction; on disk when they answer OK. ERR_NOT_FOUND: no such
 * key. ERR_CONFLICT: the name is held by another approved key. ERR_EXISTS: is so already. ERR_WRONG_STATE:
 * not from its state:
 * - accept: pending or declined becomes approved;
 * - decline: pending becomes declined;
 * - revoke: approved becomes revoked;
 * - preapprove: unknown, pending, declined or revoked becomes approved, under this name.
 */
enum status store_accept(struct store *store, const char *fingerprint, const struct store_actor *actor);
enum status store_decline(struct store *store, const char *fingerprint, const struct store_actor *actor);
enum status store_revoke(struct store *store, const char *fingerprint, const struct store_actor *actor);
enum status store_preapprove(struct store *store, const char *fingerprint, const char *name,
                             const struct store_actor *actor);
/* Audit only: start, stop, alarm, connected, disconnected… */
enum status store_audit(struct store *store, const struct store_actor *actor, const char *action,
                        const char *fingerprint, const char *name, const char *remote, const char *detail);

/* Pages: rows with key > after in order, at most cap; *n gets how many. Peers are ordered by rowid (out->…).
 */
enum status store_list_peers(struct store *store, uint64_t after, unsigned status_mask,
                             struct store_peer *rows, uint64_t *row_ids, size_t cap, size_t *n);
enum status store_list_audit(struct store *store, uint64_t after, struct store_audit_row *rows, size_t cap,
                             size_t *n);

/* Recomputes the chain. *bad_seq: first row that does not fit (0 = none). ERR_AUTH when one does not. */
enum status store_verify_audit(struct store *store, uint64_t *rows, uint64_t *bad_seq,
                               struct store_error *error);
/* The hash of one row from its fields and the previous hash (audit.c says how). */
void audit_hash(const struct store_audit_row *row, uint8_t hash[32]);
/*
 * Checks rows one after the other from the first on, wherever they come from: for clients that verify rows
 * that they were sent. ERR_AUTH: this row does not fit; *why gets a static phrase, and the check stays where
 * it was.
 */
struct audit_check {
    uint64_t rows; /* that fit so far */
    uint8_t last[32];
};
void audit_check_init(struct audit_check *check);
enum status audit_check_row(struct audit_check *check, const struct store_audit_row *row, const char **why);

/* The stable port of an app; ERR_NOT_FOUND. Setting replaces. Ports that any app owns are never given twice.
 */
enum status store_port_get(struct store *store, const char *fingerprint, const char *app, uint16_t *port);
enum status store_port_set(struct store *store, const char *fingerprint, const char *app, uint16_t port);
bool store_port_taken(struct store *store, uint16_t port);
/* Frees the least recently used port in min..max whose peer is not approved any more or unused for long. */
enum status store_port_reclaim(struct store *store, uint16_t min, uint16_t max, uint64_t unused_before);

#endif
