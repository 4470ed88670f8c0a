/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what `wormhole probe` believes of a server: the greeting inside websocket frames, and the status
 * line of a page. The connection has nothing more to say than the input, and the deadline is over. The first
 * byte picks one of the two, and whether another server is expected.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker-net/probe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct probe p;
    char text[PROBE_TEXT] = "";
    int pair[2];

    if (size < 1 || size - 1 > sizeof p.input)
        return 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
        abort();
    memset(&p, 0, sizeof p);
    p.fd = pair[0];
    p.deadline_ms = 1;
    p.target = (struct probe_target){.host = "hub.example", .port = 443, .path = "/wh/tunnel"};
    if ((data[0] & 2) != 0)
        memcpy(p.target.fingerprint, "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 51);
    memcpy(p.input, data + 1, size - 1);
    p.input_len = size - 1;
    enum status st = (data[0] & 1) != 0 ? probe_answer(&p, text) : probe_hello(&p, text);
    if (memchr(text, 0, sizeof text) == NULL || text[0] == '\0')
        abort(); /* a person is told something in any case */
    if (st == OK && (data[0] & 2) != 0 && (data[0] & 1) == 0)
        abort(); /* nobody has a key with that fingerprint */
    probe_clear(&p);
    (void)close(pair[1]);
    return 0;
}
