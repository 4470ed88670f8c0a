/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wormhole-crypto: holds this end's private key and runs every handshake. Has no socket but its IPC and no
 * file but the key directory, and never sees application data. This file is the worker's role: start,
 * messages, end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "common/fingerprint.h"
#include "worker-crypto/connections.h"
#include "worker-crypto/kem.h"

static struct crypto crypto = {.dir = {.fd = -1}};

static enum status role_setup(struct worker *w, enum message_type type, const union message *m, int fd)
{
    if (type != MSG_CRYPTO_SETUP) {
        if (fd >= 0)
            (void)close(fd);
        return ERR_PERMIT;
    }
    crypto.worker = w;
    crypto.setup = m->crypto_setup;
    crypto.set_up = true;
    w->state = &crypto;
    return OK;
}

/* What was configured, as far as this library and this version can do it. */
static enum status common_configure(struct key_error *error)
{
    const struct msg_crypto_setup *s = &crypto.setup;
    uint32_t wanted = s->suites == 0 ? SUITES_KNOWN : s->suites;

    crypto.common = (struct handshake_common){
        .suites = wanted & SUITES_KNOWN,
        .max_record = s->max_record == 0 ? RECORD_PLAIN_DEFAULT : s->max_record,
        .step_ms = s->handshake_ms == 0 ? HANDSHAKE_MS_DEFAULT : s->handshake_ms,
        .heartbeat_ms = s->heartbeat_ms == 0 ? HEARTBEAT_MS_DEFAULT : s->heartbeat_ms,
        .random = random_draw,
    };
    if (!kem_available())
        crypto.common.suites &= ~SUITE_BIT(SUITE_X25519_MLKEM768);
    if (crypto.common.suites == 0) {
        (void)snprintf(
            error->text, sizeof error->text,
            "suites: the crypto library (%s) has no ML-KEM-768, which needs OpenSSL 3.5; use auto or x25519",
            OpenSSL_version(OPENSSL_VERSION));
        return ERR_CONFIG;
    }
    if (crypto.common.max_record < RECORD_PLAIN_MIN || crypto.common.max_record > RECORD_PLAIN_MAX) {
        (void)snprintf(error->text, sizeof error->text, "max-record: %u is not between %u and %u",
                       crypto.common.max_record, RECORD_PLAIN_MIN, RECORD_PLAIN_MAX);
        return ERR_CONFIG;
    }
    return OK;
}

static enum status server_prepare(struct key_error *error)
{
    enum status s = identity_open_server(&crypto.identity, &crypto.dir, error);

    key_dir_close(&crypto.dir); /* nothing there is needed any more */
    if (s != OK)
        return s;
    crypto.server = (struct server_config){
        .common = crypto.common,
        .identity = crypto.identity.key,
        .public_key = crypto.identity.public_key,
        .fingerprint = crypto.identity.fingerprint,
    };
    return OK;
}

static enum status client_prepare(struct key_error *error)
{
    struct expected_server *e = &crypto.expected;
    const char *pinned = crypto.setup.pinned_server;

    enum status s = identity_open_client(&crypto.identity, &crypto.dir,
                                         crypto.setup.rsa_bits == 0 ? 2048 : crypto.setup.rsa_bits, error);
    if (s == OK)
        s = known_server_load(&crypto.dir, &crypto.known, error);
    if (s != OK)
        return s;
    if (pinned[0] != '\0') {
        if (fingerprint_parse(pinned, e->fingerprint) != OK) {
            (void)snprintf(error->text, sizeof error->text,
                           "server-fingerprint: \"%s\" is not a fingerprint (SHA256: and 43 characters)",
                           pinned);
            return ERR_CONFIG;
        }
        e->present = e->pinned = true;
        if (crypto.known.present && memcmp(crypto.known.fingerprint, e->fingerprint, HASH_BYTES) == 0)
            e->suite = crypto.known.suite;
    } else if (crypto.known.present) {
        e->present = true;
        memcpy(e->fingerprint, crypto.known.fingerprint, HASH_BYTES);
        e->suite = crypto.known.suite;
    }
    return OK;
}

/*
 * The key directory belongs to the uid that this process will have; root without its override capability
 * could not read it, and files that are made must be that uid's.
 */
static enum status prepare_as_owner(struct worker *w, struct key_error *error)
{
    uid_t own = geteuid(), owner = own == 0 ? (uid_t)crypto.setup.owner_uid : own;

    if (owner != own && seteuid(owner) != 0) {
        (void)snprintf(error->text, sizeof error->text, "cannot act as uid %u for the key directory",
                       (unsigned)owner);
        return ERR_IO;
    }
    enum status s = key_dir_open(&crypto.dir, crypto.setup.key_dir, owner, error);
    if (s == OK)
        s = w->side == SIDE_SERVER ? server_prepare(error) : client_prepare(error);
    if (owner != own && seteuid(own) != 0)
        return ERR_IO; /* error->text may say nothing: the process ends all the same */
    return s;
}

static enum status role_preload(struct worker *w, struct sandbox_spec *spec)
{
    struct key_error error = {.text = "cannot get back the uid that this was started with"};
    const struct rlimit no_core = {0, 0};

    /* The sandbox does this too, but a key is in memory before it is closed. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &no_core) != 0)
        return ERR_IO;
    if (!crypto.set_up)
        return ERR_WRONG_STATE;
    enum status s = primitives_open();
    if (s != OK) {
        log_error("the crypto library (%s) lacks an algorithm", OpenSSL_version(OPENSSL_VERSION));
        return s;
    }
    s = common_configure(&error);
    if (s == OK)
        s = prepare_as_owner(w, &error);
    if (s != OK) {
        log_error("%s", error.text);
        return s;
    }
    if (w->side == SIDE_CLIENT) /* known_server is written later */
        s = sandbox_allow_path(spec, crypto.setup.key_dir, ACCESS_READ | ACCESS_WRITE);
    return s;
}

void identity_announce(const struct crypto *c)
{
    const struct identity *id = &c->identity;
    struct msg_crypto_identity m = {
        .bits = (uint16_t)id->bits, .created = id->created, .generated = id->generated};

    (void)snprintf(m.kind, sizeof m.kind, "%s", id->kind);
    memcpy(m.fingerprint, id->fingerprint, sizeof m.fingerprint);
    (void)snprintf(m.path, sizeof m.path, "%.*s", (int)sizeof m.path - 1, id->path);
    if (c->expected.present)
        fingerprint_format(c->expected.fingerprint, m.known_server);
    (void)ipc_channel_send(c->worker->supervisor, MSG_CRYPTO_IDENTITY, &m, -1);
}

static enum status role_start(struct worker *w)
{
    (void)w;
    identity_announce(&crypto);
    crypto.identity.generated = false; /* said once */
    return OK;
}

static void role_message(struct worker *w, enum message_type type, const union message *m, int fd)
{
    (void)w;
    if (type == MSG_CRYPTO_SESSION)
        connection_open(&crypto, &m->crypto_session, fd);
    else if (type == MSG_APPROVAL_ANSWER)
        connection_answer(&crypto, &m->approval_answer);
    else if (fd >= 0)
        (void)close(fd);
}

static void role_finish(struct worker *w)
{
    (void)w;
    connections_close(&crypto);
    identity_clear(&crypto.identity);
    key_dir_close(&crypto.dir);
    primitives_close();
}

static const struct worker_role role = {
    .role = ROLE_CRYPTO,
    .kind = CH_CRYPTO,
    .run_state = IN_RUN,
    .name = "crypto",
    .setup = role_setup,
    .preload = role_preload,
    .start = role_start,
    .message = role_message,
    .finish = role_finish,
};

int main(int argc, char **argv)
{
    return worker_main(argc, argv, &role);
}
