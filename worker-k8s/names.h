/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Kubernetes accepts as a name, and how Wormhole makes one from a peer and an app. Pure functions: no
 * memory, no I/O, no knowledge of who owns a name already (mirror.c decides that).
 */
#ifndef WORMHOLE_K8S_NAMES_H
#define WORMHOLE_K8S_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#define K8S_NAME_MAX 63 /* bytes of a label, a Service name or a label value (RFC 1123, RFC 1035) */
#define K8S_NAME_HASH 8 /* hex digits that keep shortened names apart */

/* RFC 1035 label: [a-z]([-a-z0-9]*[a-z0-9])?, 1..63 bytes. Service names. (Apps: common/names.h.) */
bool name_is_service(const char *text);

/* A label's value: empty or [A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?, at most 63 bytes. */
bool name_is_label_value(const char *text);

/* First `digits` (1..64) lower-case hex digits of SHA-256(a NUL b), NUL-terminated into out[digits + 1]. */
void name_hash(const char *a, const char *b, size_t digits, char *out);

/*
 * The name of the Service that stands for a peer's app: "<peer>-<app>" where that is a Service name and
 * `hashed` is false, else the same made acceptable, cut, and told apart by the hash of (peer, app).
 */
void name_mirror(const char *peer, const char *app, bool hashed, char out[K8S_NAME_MAX + 1]);

/* An app's name "<base>[-<port>]" (port may be NULL), cut and hashed when it is longer than a label. */
void name_app(const char *base, const char *port, char out[K8S_NAME_MAX + 1]);

#endif
