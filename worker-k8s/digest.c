/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 and base64 by libcrypto (digest.h). It must not include common/status.h: OpenSSL's headers define
 * some of its names.
 */
#include "worker-k8s/digest.h"

#include <limits.h>
#include <openssl/evp.h>
#include <string.h>

void digest_pair(const char *a, const char *b, uint8_t out[32])
{
    unsigned len = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    memset(out, 0, 32);
    if (md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
        EVP_DigestUpdate(md, a, strlen(a) + 1) == 1 && EVP_DigestUpdate(md, b, strlen(b)) == 1) {
        (void)EVP_DigestFinal_ex(md, out, &len);
    }
    EVP_MD_CTX_free(md);
}

int base64_decode(const char *text, size_t len, char *out)
{
    if (len == 0 || len % 4 != 0 || len > INT_MAX) {
        return -1;
    }
    int got = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)len);
    return got < 0 ? -1 : got - (text[len - 1] == '=') - (text[len - 2] == '='); /* it counts the padding */
}
