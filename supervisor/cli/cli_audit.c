/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wormhole audit`: who decided what and when, whether the record is whole, and the record for other
 * programs. Reads only.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "supervisor/cli/cli_audit_source.h"
#include "supervisor/cli/cli_output.h"

static const struct column columns[] = {
    {"seq", "SEQ", COLUMN_NUMBER},      {"time_ms", "TIME", COLUMN_TIME_MS},
    {"action", "ACTION", COLUMN_TEXT},  {"name", "NAME", COLUMN_TEXT},
    {"actor_kind", "BY", COLUMN_TEXT},  {"actor", "WHO", COLUMN_TEXT},
    {"remote", "ADDRESS", COLUMN_TEXT}, {"fingerprint", "FINGERPRINT", COLUMN_TEXT},
    {"detail", "DETAIL", COLUMN_TEXT},
};
static const char *const yields[] = {"fingerprint", "remote", "actor_kind", "detail", NULL};

static bool list_row(void *arg, const struct store_audit_row *r)
{
    const struct cell cells[] = {
        CELL_NUMBER(r->seq),  CELL_NUMBER(r->time_ms),   CELL_TEXT(r->action),
        CELL_TEXT(r->name),   CELL_TEXT(r->actor_kind),  CELL_TEXT(r->actor),
        CELL_TEXT(r->remote), CELL_TEXT(r->fingerprint), CELL_TEXT(r->detail),
    };
    output_row(arg, cells);
    return true;
}

/* --after SEQ; false after a message. */
static bool after_of(const struct args *args, uint64_t *after)
{
    const char *text = args_value(args, "after");
    char *end = NULL;
    *after = 0;
    if (text == NULL)
        return true;
    errno = 0;
    *after = strtoull(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *after <= INT64_MAX)
        return true;
    cli_error("--after: must be the number of a row, not \"%.40s\"", text);
    return false;
}

static int list_run(const struct args *args)
{
    struct output out;
    uint64_t after = 0;
    if (!after_of(args, &after))
        return EXIT_USAGE_ERROR;
    output_begin(&out, output_format_of(args), columns, sizeof columns / sizeof columns[0]);
    out.yields = yields;
    int code = audit_each(args, after, list_row, &out);
    int written = output_end(&out);
    return code != EXIT_DONE ? code : written;
}

struct verification {
    struct audit_check check;
    uint64_t bad_seq;
    const char *why; /* NULL: all fits so far */
};

static bool verify_row(void *arg, const struct store_audit_row *row)
{
    struct verification *v = arg;
    if (v->why == NULL && audit_check_row(&v->check, row, &v->why) != OK)
        v->bad_seq = row->seq;
    return v->why == NULL;
}

static int verify_run(const struct args *args)
{
    struct verification v = {.why = NULL};
    audit_check_init(&v.check);
    int code = audit_each(args, 0, verify_row, &v);
    char hash[65] = "";
    if (code != EXIT_DONE)
        return code;
    for (size_t i = 0; i < sizeof v.check.last; i++)
        (void)snprintf(hash + 2 * i, 3, "%02x", v.check.last[i]);
    static const struct column result[] = {
        {"intact", "intact", COLUMN_YES_NO},
        {"rows", "rows", COLUMN_NUMBER},
        {"bad_seq", NULL, COLUMN_NUMBER},
        {"last_hash", "last hash", COLUMN_TEXT},
    };
    const struct cell cells[] = {CELL_NUMBER(v.why == NULL), CELL_NUMBER(v.check.rows),
                                 CELL_NUMBER(v.bad_seq), CELL_TEXT(hash)};
    int written = output_record(output_format_of(args), result, cells, sizeof result / sizeof result[0]);
    if (v.why == NULL)
        return written;
    cli_error("the audit log was tampered with or is damaged: row %" PRIu64
              ": %s. Keep a copy of the file, and compare "
              "with a backup or an export",
              v.bad_seq, v.why);
    return EXIT_FAILED;
}

struct export
{
    const char *format;
    uint64_t rows;
};

static void time_text(uint64_t time_ms, char *buf, size_t cap)
{
    time_t when = (time_t)(time_ms / 1000);
    struct tm utc;
    char seconds[40] = "";
    if (gmtime_r(&when, &utc) != NULL)
        (void)strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(buf, cap, "%s.%03uZ", seconds, (unsigned)(time_ms % 1000));
}

static void export_json(const struct store_audit_row *r)
{
    struct json_writer json;
    char when[64];
    time_text(r->time_ms, when, sizeof when);
    json_to_file(&json, stdout, false);
    json_begin_object(&json);
    json_put_uint(&json, "seq", r->seq);
    json_put_string(&json, "time", when);
    json_put_uint(&json, "time_ms", r->time_ms);
    json_put_string(&json, "actor_kind", r->actor_kind);
    json_put_string(&json, "actor", r->actor);
    json_put_string(&json, "action", r->action);
    json_put_string(&json, "fingerprint", r->fingerprint);
    json_put_string(&json, "name", r->name);
    json_put_string(&json, "remote", r->remote);
    json_put_string(&json, "detail", r->detail);
    json_key(&json, "previous");
    json_hex(&json, r->previous, sizeof r->previous);
    json_key(&json, "hash");
    json_hex(&json, r->hash, sizeof r->hash);
    json_end_object(&json);
    (void)json_finish(&json);
}

/* RFC 4180 quoting; lines end with a newline only, as everywhere on this system. */
static void csv_field(const char *text, bool last)
{
    bool quote = strpbrk(text, ",\"\r\n") != NULL;
    if (quote)
        (void)putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"')
            (void)putchar('"');
        (void)putchar(*text);
    }
    if (quote)
        (void)putchar('"');
    (void)putchar(last ? '\n' : ',');
}

static void export_csv(const struct store_audit_row *r)
{
    char seq[24], when[64], hashes[2][65];
    (void)snprintf(seq, sizeof seq, "%" PRIu64, r->seq);
    time_text(r->time_ms, when, sizeof when);
    for (size_t i = 0; i < 32; i++) {
        (void)snprintf(hashes[0] + 2 * i, 3, "%02x", r->previous[i]);
        (void)snprintf(hashes[1] + 2 * i, 3, "%02x", r->hash[i]);
    }
    const char *const fields[] = {seq,     when,      r->actor_kind, r->actor,  r->action, r->fingerprint,
                                  r->name, r->remote, r->detail,     hashes[0], hashes[1]};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        csv_field(fields[i], i + 1 == sizeof fields / sizeof fields[0]);
}

static bool export_row(void *arg, const struct store_audit_row *row)
{
    struct export *export = arg;
    if (strcmp(export->format, "csv") == 0) {
        if (export->rows == 0)
            (void)puts("seq,time,actor_kind,actor,action,fingerprint,name,remote,detail,previous,hash");
        export_csv(row);
    } else {
        if (strcmp(export->format, "json") == 0)
            (void)fputs(export->rows == 0 ? "[\n" : ",\n", stdout);
        export_json(row);
        if (strcmp(export->format, "jsonl") == 0)
            (void)putchar('\n');
    }
    export->rows++;
    return ferror(stdout) == 0;
}

static int export_run(const struct args *args)
{
    const char *format = args_value(args, "format");
    struct export export = {.format = format != NULL ? format : "json"};
    uint64_t after = 0;
    if (!after_of(args, &after))
        return EXIT_USAGE_ERROR;
    int code = audit_each(args, after, export_row, &export);
    if (code != EXIT_DONE)
        return code; /* no closing bracket: a cut export must not look whole */
    if (strcmp(export.format, "json") == 0)
        (void)puts(export.rows == 0 ? "[]" : "\n]");
    return EXIT_DONE;
}

static const struct cli_verb verbs[] = {
    {"list", NULL, "shows the record, oldest first", COMPLETE_NOTHING, false, list_run},
    {"verify", NULL, "recomputes the chain of hashes; exit code 1 when a row was changed, added or removed",
     COMPLETE_NOTHING, false, verify_run},
    {"export", NULL, "writes the record with its hashes for other programs", COMPLETE_NOTHING, false,
     export_run},
    {NULL, NULL, NULL, COMPLETE_NOTHING, false, NULL},
};

static const struct cli_option options[] = {
    {"db", "FILE", "read a copied database file instead of asking the server", NULL, COMPLETE_FILE},
    {"after", "SEQ", "list, export: only rows after this number", NULL, COMPLETE_NOTHING},
    {"format", "FORMAT",
     "(json|jsonl|csv) export: one JSON array, one JSON object per line, or CSV with a header; "
     "default json",
     "json|jsonl|csv", COMPLETE_WORDS},
    {NULL, NULL, NULL, NULL, COMPLETE_NOTHING},
};

static const struct cli_example examples[] = {
    {"wormhole audit list", "who accepted, declined and revoked what, and when"},
    {"wormhole audit verify --db /backup/wormhole.db", "is this copy whole and unchanged?"},
    {"wormhole audit export --format jsonl --after 1200", "what is new since row 1200, for a log collector"},
    {NULL, NULL},
};

const struct cli_command cli_audit = {
    .name = "audit",
    .summary = "shows, verifies or exports the record of all decisions",
    .description =
        "Every request, decision and automatic approval is recorded with time, actor and address in an "
        "append-only "
        "table in which each row carries the hash of the one before it. A row can neither be changed nor "
        "taken out "
        "without breaking every later hash; verify finds the first row that does not fit. To notice that the "
        "newest rows were cut off, keep the last hash that verify prints somewhere else.\n\n"
        "Works on the running server, or on a copy of the database with --db.\n\n"
        "Columns of list in a pipe: number, time, action, name, kind of actor, actor, address, fingerprint, "
        "detail.",
    .verbs = verbs,
    .options = options,
    .shows = true,
    .examples = examples,
    .see_also = "wormhole-requests(1), wormhole-peers(1)",
    .section = 1,
};
