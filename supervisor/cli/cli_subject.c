/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding a key by the beginning of its fingerprint, with a question before anything happens. Scripts give
 * whole fingerprints: a prefix that is unambiguous today may not be tomorrow.
 */
#include "supervisor/cli/cli_subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/names.h"
#include "common/utf8.h"
#include "supervisor/cli/cli_output.h"

struct match {
    const char *prefix;
    unsigned found;
    char fingerprint[65], name[64], remote[65], code[33];
    uint64_t first_seen;
};

static bool match_row(void *arg, enum message_type type, const union message *row)
{
    struct match *match = arg;
    bool request = type == MSG_ROW_REQUEST;
    if (!request && type != MSG_ROW_PEER)
        return true;
    const char *fingerprint = request ? row->row_request.fingerprint : row->row_peer.fingerprint;
    if (strncmp(fingerprint, match->prefix, strlen(match->prefix)) != 0)
        return true;
    if (match->found > 0 && strcmp(match->fingerprint, fingerprint) == 0)
        return true;
    match->found++;
    (void)snprintf(match->fingerprint, sizeof match->fingerprint, "%s", fingerprint);
    utf8_clean(match->name, sizeof match->name, request ? row->row_request.name : row->row_peer.name);
    utf8_clean(match->remote, sizeof match->remote, request ? row->row_request.remote : row->row_peer.remote);
    utf8_clean(match->code, sizeof match->code, request ? row->row_request.pairing_code : "");
    match->first_seen = request ? row->row_request.first_seen : row->row_peer.first_seen;
    return true;
}

static bool ask(const char *verb, const struct match *match)
{
    char line[16] = "", age[40] = "-";
    uint64_t now = clock_wall_s();
    if (match->first_seen != 0 && now >= match->first_seen)
        output_age((now - match->first_seen) * 1000, age, sizeof age);
    (void)fprintf(stderr, "  fingerprint   %s\n  name          %s\n  address       %s\n  known for     %s\n",
                  match->fingerprint, match->name, match->remote[0] != '\0' ? match->remote : "-", age);
    if (match->code[0] != '\0')
        (void)fprintf(stderr, "  pairing code  %s\n", match->code);
    (void)fprintf(stderr, "%s this key? [y/N] ", verb);
    (void)fflush(stderr);
    if (fgets(line, sizeof line, stdin) == NULL) {
        (void)fputc('\n', stderr);
        return false;
    }
    return strcmp(line, "y\n") == 0 || strcmp(line, "Y\n") == 0 || strcmp(line, "yes\n") == 0;
}

int subject_resolve(struct cli_client *client, enum subject_kind kind, const char *verb, const char *typed,
                    char *out, size_t cap)
{
    uint8_t digest[FINGERPRINT_BYTES];
    if (fingerprint_parse(typed, digest) == OK || (kind == SUBJECT_PEER && name_is_valid(typed))) {
        (void)snprintf(out, cap, "%s", typed);
        return EXIT_DONE;
    }
    if (!fingerprint_is_prefix(typed)) {
        cli_error("\"%.80s\" is not a fingerprint%s: SHA256: and 43 characters, or on a terminal at least "
                  "the first %d "
                  "of them",
                  typed, kind == SUBJECT_PEER ? " or a peer's name" : "", FINGERPRINT_PREFIX_MIN - 7);
        return EXIT_USAGE_ERROR;
    }
    if (!output_can_ask()) {
        cli_error(
            "\"%.80s\" is shortened; give the whole fingerprint where there is no terminal to confirm it on",
            typed);
        return EXIT_USAGE_ERROR;
    }
    struct match match = {.prefix = typed};
    int code =
        cli_query(client, kind == SUBJECT_REQUEST ? QUERY_REQUESTS : QUERY_PEERS, 0, NULL, match_row, &match);
    if (code != EXIT_DONE)
        return code;
    if (match.found != 1) {
        cli_error(match.found == 0
                      ? "no key's fingerprint begins with %.80s; see who waits: wormhole requests list"
                      : "several fingerprints begin with %.80s; give more of it",
                  typed);
        return EXIT_FAILED;
    }
    if (!ask(verb, &match)) {
        cli_error("nothing was changed");
        return EXIT_FAILED;
    }
    (void)snprintf(out, cap, "%s", match.fingerprint);
    return EXIT_DONE;
}
