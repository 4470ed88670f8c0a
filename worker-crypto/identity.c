/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See identity.h. A key is PKCS #8 PEM without a passphrase: the file's permissions and the process boundary
 * protect it. A key that is not what it should be is never replaced: people approved it.
 */
#include "worker-crypto/identity.h"

#include <stdio.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "common/clock.h"

#define FAIL(error, ...) (snprintf((error)->text, sizeof(error)->text, __VA_ARGS__), ERR_CONFIG)

/* Asked for a passphrase the library would read the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

struct kind {
    const char *name;  /* of the algorithm, for the library */
    const char *label; /* what CRYPTO_IDENTITY says */
    const char *what;  /* in messages */
    const char *file;
};

static const struct kind kind_server = {"ED25519", "server", "server identity", IDENTITY_SERVER_FILE};
static const struct kind kind_client = {"RSA", "client", "client key", IDENTITY_CLIENT_FILE};

static enum status key_parse(const struct kind *kind, const char *path, const uint8_t *pem, size_t len,
                             EVP_PKEY **out, struct key_error *error)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

    BIO_free(bio);
    if (key == NULL) {
        bool encrypted = memmem(pem, len, "ENCRYPTED", 9) != NULL;
        ERR_clear_error();
        if (encrypted)
            return FAIL(error,
                        "%s %s: is encrypted with a passphrase, which nobody can type here; write it "
                        "without one (openssl pkcs8 -topk8 -nocrypt)",
                        kind->what, path);
        return FAIL(error,
                    "%s %s: is corrupt or no private key in PEM form; restore it from a backup, or move it "
                    "away to have a new one made (which has to be approved anew)",
                    kind->what, path);
    }
    if (EVP_PKEY_is_a(key, kind->name) != 1) {
        const char *found = EVP_PKEY_get0_type_name(key);
        enum status s = FAIL(error, "%s %s: is a key of type %s, must be %s; restore the right file",
                             kind->what, path, found != NULL ? found : "?", kind->name);
        EVP_PKEY_free(key);
        return s;
    }
    *out = key;
    return OK;
}

static enum status key_load(const struct kind *kind, const struct key_dir *dir, struct identity *identity,
                            struct key_error *error)
{
    uint8_t *pem = OPENSSL_secure_zalloc(KEY_FILE_MAX);
    size_t len = KEY_FILE_MAX;

    if (pem == NULL)
        return FAIL(error, "%s %s: out of memory", kind->what, identity->path);
    enum status s = key_file_read(dir, kind->file, kind->what, pem, &len, &identity->created, error);
    if (s == OK)
        s = key_parse(kind, identity->path, pem, len, &identity->key, error);
    OPENSSL_secure_clear_free(pem, KEY_FILE_MAX);
    return s;
}

/* Writes a fresh key; ERR_EXISTS when another process was quicker. */
static enum status key_save(const struct kind *kind, const struct key_dir *dir,
                            const struct identity *identity, EVP_PKEY *key, struct key_error *error)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    char *pem;
    enum status s = FAIL(error, "%s %s: cannot be encoded", kind->what, identity->path);

    if (bio != NULL && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
        long len = BIO_get_mem_data(bio, &pem);
        if (len > 0)
            s = key_file_write(dir, kind->file, kind->what, (const uint8_t *)pem, (size_t)len, false, error);
    }
    BIO_free(bio); /* wipes: secure memory */
    return s;
}

static EVP_PKEY *key_make(const struct kind *kind, unsigned bits)
{
    return kind == &kind_client ? EVP_RSA_gen(bits) : EVP_PKEY_Q_keygen(NULL, NULL, kind->name);
}

static enum status key_load_or_make(const struct kind *kind, const struct key_dir *dir, unsigned bits,
                                    struct identity *identity, struct key_error *error)
{
    (void)snprintf(identity->path, sizeof identity->path, "%s/%s", dir->path, kind->file);
    identity->kind = kind->label;
    enum status s = key_load(kind, dir, identity, error);
    if (s != ERR_NOT_FOUND)
        return s;

    EVP_PKEY *key = key_make(kind, bits);
    if (key == NULL)
        return FAIL(error, "%s %s: cannot be made: the crypto library failed", kind->what, identity->path);
    s = key_save(kind, dir, identity, key, error);
    if (s == ERR_EXISTS) {
        EVP_PKEY_free(key);
        return key_load(kind, dir, identity, error);
    }
    if (s != OK) {
        EVP_PKEY_free(key);
        return s;
    }
    identity->key = key;
    identity->generated = true;
    identity->created = clock_wall_s();
    return OK;
}

enum status identity_open_server(struct identity *identity, const struct key_dir *dir,
                                 struct key_error *error)
{
    struct identity fresh = {.bits = 256};
    size_t len = sizeof fresh.public_key;
    uint8_t signature[ED25519_SIGNATURE];
    static const uint8_t sample[HASH_BYTES] = {1};

    enum status s = key_load_or_make(&kind_server, dir, 0, &fresh, error);
    if (s == OK &&
        (EVP_PKEY_get_raw_public_key(fresh.key, fresh.public_key, &len) != 1 ||
         len != sizeof fresh.public_key || ed25519_fingerprint(fresh.public_key, fresh.fingerprint) != OK ||
         ed25519_sign(fresh.key, "wormhole/1 self test", sample, signature) != OK ||
         ed25519_verify(fresh.public_key, "wormhole/1 self test", sample, signature) != OK))
        s = FAIL(error, "server identity %s: the key does not work; restore it from a backup", fresh.path);
    if (s != OK) {
        identity_clear(&fresh);
        return s;
    }
    *identity = fresh;
    return OK;
}

/* A signature by the private part that the public part verifies, and the checks that every server will do. */
static enum status client_key_check(struct identity *identity, struct key_error *error)
{
    static const uint8_t sample[HASH_BYTES] = {1};
    uint8_t signature[RSA_MODULUS_MAX];
    size_t len = sizeof signature;
    struct rsa_public public_part = {0};
    const char *why = "its size is not 2048, 3072 or 4096 bits, or its exponent is not 65537";

    identity->bits = (unsigned)EVP_PKEY_get_bits(identity->key);
    identity->spki_len = sizeof identity->spki;
    enum status s = rsa_spki_write(identity->key, identity->spki, &identity->spki_len);
    if (s == OK)
        s = rsa_public_read(identity->spki, identity->spki_len, &public_part, &why);
    if (s == OK)
        s = rsa_public_check_fully(&public_part, identity->spki, identity->spki_len, &why);
    if (s == OK) {
        why = "its private and public parts do not belong together";
        s = pss_sign(identity->key, "wormhole/1 self test", sample, signature, &len);
    }
    if (s == OK)
        s = pss_verify(public_part.key, "wormhole/1 self test", sample, signature, len);
    if (s == OK)
        memcpy(identity->fingerprint, public_part.fingerprint, HASH_BYTES);
    rsa_public_clear(&public_part);
    ERR_clear_error();
    if (s != OK)
        return FAIL(error,
                    "client key %s: no server would accept it: %s; restore it from a backup, or move it away "
                    "to have a new one made (which has to be approved anew)",
                    identity->path, why);
    return OK;
}

enum status identity_open_client(struct identity *identity, const struct key_dir *dir, unsigned bits,
                                 struct key_error *error)
{
    struct identity fresh = {0};

    if (!rsa_bits_allowed(bits))
        return FAIL(error, "rsa-bits: %u is not 2048, 3072 or 4096", bits);
    enum status s = key_load_or_make(&kind_client, dir, bits, &fresh, error);
    if (s == OK)
        s = client_key_check(&fresh, error);
    if (s != OK) {
        identity_clear(&fresh);
        return s;
    }
    *identity = fresh;
    return OK;
}

void identity_clear(struct identity *identity)
{
    EVP_PKEY_free(identity->key); /* wipes the private part */
    *identity = (struct identity){0};
}
