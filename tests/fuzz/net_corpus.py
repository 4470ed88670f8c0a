# SPDX-License-Identifier: Apache-2.0
"""
Writes the kept corpus of the session's fuzz targets: one file for each kind of input that matters, made by hand, so that a
replay without a fuzzer still walks through every state. Run it after changing a target's input format.
"""
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))


def write(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def http():
    key = b"dGhlIHNhbXBsZSBub25jZQ=="
    first = b"GET /wh/tunnel HTTP/1.1\r\nHost: s\r\n"
    rest = (b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: " + key +
            b"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: wormhole.v1\r\n")
    server = {
        "good": first + rest + b"\r\nrest",
        "forwarded": first + rest + b"X-Forwarded-For: 10.0.0.1, 2001:db8::7\r\n\r\n",
        "absolute": b"GET http://s:8080/wh/tunnel HTTP/1.1\r\nHost: s\r\n" + rest + b"\r\n",
        "no-upgrade": first + b"\r\n",
        "origin": first + rest + b"Origin: http://x\r\n\r\n",
        "other-path": b"GET /x HTTP/1.1\r\nHost: s\r\n\r\n",
        "body": first + rest + b"Content-Length: 5\r\n\r\nhello",
        "folded": first + b"A: b\r\n c\r\n\r\n",
        "bare-lf": b"GET / HTTP/1.1\nHost: s\n\n",
        "nul": first + b"A: \0\r\n\r\n",
        "many": first + b"".join(b"F%d: x\r\n" % i for i in range(70)) + b"\r\n",
        "long": first + b"X: " + b"a" * 9000,
        "binary": bytes(range(256)),
        "forwarded-v4": first + rest + b"X-Forwarded-For: 192.0.2.7\r\n\r\n",
        "forwarded-port": first + rest + b"X-Forwarded-For: 192.0.2.7:99\r\n\r\n",
        "forwarded-v6-port": first + rest + b"X-Forwarded-For: [2001:db8::7]:99\r\n\r\n",
        "forwarded-nonsense": first + rest + b"X-Forwarded-For: unknown\r\n\r\n",
        "forwarded-long": first + rest + b"X-Forwarded-For: " + b"1" * 90 + b"\r\n\r\n",
        "host-twice": first + b"Host: t\r\n" + rest + b"\r\n",
        "key-twice": first + rest + b"Sec-WebSocket-Key: " + key + b"\r\n\r\n",
        "no-host": b"GET /wh/tunnel HTTP/1.1\r\n" + rest + b"\r\n",
        "no-key": first + rest.replace(b"Sec-WebSocket-Key: " + key + b"\r\n", b"") + b"\r\n",
        "short-key": first + rest.replace(key, b"dGhl") + b"\r\n",
        "odd-key": first + rest.replace(key, b"!" * 24) + b"\r\n",
        "key-tail": first + rest.replace(key, key[:-3] + b"Q==") + b"\r\n",
        "key-no-padding": first + rest.replace(key, key[:-2] + b"AA") + b"\r\n",
        "version-8": first + rest.replace(b": 13", b": 8") + b"\r\n",
        "no-connection": first + rest.replace(b"keep-alive, Upgrade", b"close") + b"\r\n",
        "other-protocol": first + rest.replace(b"wormhole.v1", b"chat") + b"\r\n",
        "no-protocol": first + rest.replace(b"Sec-WebSocket-Protocol: wormhole.v1\r\n", b"") + b"\r\n",
        "extensions": first + rest + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        "chunked": first + rest + b"Transfer-Encoding: chunked\r\n\r\n",
        "post": b"POST /wh/tunnel HTTP/1.1\r\nHost: s\r\n" + rest + b"\r\n",
        "http-10": b"GET /wh/tunnel HTTP/1.0\r\nHost: s\r\n" + rest + b"\r\n",
        "query": b"GET /wh/tunnel?a=b HTTP/1.1\r\nHost: s\r\n" + rest + b"\r\n",
    }
    for name, text in server.items():
        write("fuzz_http_upgrade", "server-" + name, b"\0" + text)
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    accept = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    client = {
        "good": switch + accept + b"Sec-WebSocket-Protocol: wormhole.v1\r\n\r\n",
        "extension": switch + accept + b"Sec-WebSocket-Protocol: wormhole.v1\r\nSec-WebSocket-Extensions: x\r\n\r\n",
        "wrong-accept": switch + b"Sec-WebSocket-Accept: x\r\n\r\n",
        "not-found": b"HTTP/1.1 404 Not Found\r\n\r\n",
        "ssh": b"SSH-2.0-OpenSSH\r\n",
        "short": b"HTTP/1.1 50",
        "redirect": b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
        "upgrade-required": b"HTTP/1.1 426 Upgrade Required\r\n\r\n",
        "plain-answer": b"HTTP/1.1 200 OK\r\n\r\n",
        "bad-request": b"HTTP/1.1 400 Bad Request\r\n\r\n",
        "bad-gateway": b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        "unavailable": b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
        "no-connection": b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\n" + accept + b"Sec-WebSocket-Protocol: wormhole.v1\r\n\r\n",
        "other-protocol": switch + accept + b"Sec-WebSocket-Protocol: chat\r\n\r\n",
        "no-protocol": switch + accept + b"\r\n",
        "twice": switch + accept + accept + b"Sec-WebSocket-Protocol: wormhole.v1\r\n\r\n",
    }
    for name, text in client.items():
        write("fuzz_http_upgrade", "client-" + name, b"\1" + text)
    for name, text in {"host": b"host", "v6": bytes([38, 38, 27, 5]), "odd": b"abc", "long": b"x" * 90}.items():
        write("fuzz_http_upgrade", "asked-" + name, b"\3" + text)
    proxy = {
        "good": b"HTTP/1.1 200 Connection established\r\nVia: p\r\n\r\n",
        "auth": b"HTTP/1.0 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
        "no-reason": b"HTTP/1.1 503\r\n\r\n",
        "forbidden": b"HTTP/1.1 403 Forbidden\r\n\r\n",
        "moved": b"HTTP/1.1 301 Moved \xff\x1b[31m" + b"x" * 60 + b"\r\n\r\n",
        "half": b"HTTP/1.1 200",
        "other": b"220 ready\r\n",
    }
    for name, text in proxy.items():
        write("fuzz_http_upgrade", "proxy-" + name, b"\2" + text)


def ws(first, payload, masked=True, mask=b"\x37\xfa\x21\x3d"):
    bit = 0x80 if masked else 0
    n = len(payload)
    if n < 126:
        head = struct.pack(">BB", first, bit | n)
    elif n < 65536:
        head = struct.pack(">BBH", first, bit | 126, n)
    else:
        head = struct.pack(">BBQ", first, bit | 127, n)
    if masked:
        return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return head + payload


def websocket():
    sides = {"client": (b"\x07", True), "server": (b"\x04", False)}
    for side, (pick, m) in sides.items():
        cases = {
            "binary": ws(0x82, b"x" * 300, m) + ws(0x82, b"", m),
            "fragments": ws(0x02, b"ab", m) + ws(0x89, b"p", m) + ws(0x00, b"", m) + ws(0x80, b"cd", m),
            "close": ws(0x88, b"\x03\xe8bye", m),
            "close-empty": ws(0x88, b"", m),
            "close-bad-code": ws(0x88, b"\x03\xed", m),
            "close-bad-text": ws(0x88, b"\x03\xe8\xff", m),
            "text": ws(0x81, b"text", m),
            "reserved": ws(0xd2, b"x", m),
            "wrong-mask": ws(0x82, b"x", not m),
            "continuation": ws(0x80, b"x", m),
            "interleaved": ws(0x02, b"a", m) + ws(0x82, b"b", m),
            "limit": ws(0x82, b"x" * 5000, m),
            "over": ws(0x82, b"x" * 5001, m),
            "over-in-fragments": ws(0x02, b"x" * 3000, m) + ws(0x80, b"x" * 3000, m),
            "huge": b"\x82" + bytes([0x7f | (0x80 if m else 0)]) + b"\x7f" + b"\xff" * 7,
            "padded-length": b"\x82" + bytes([0x7e | (0x80 if m else 0)]) + b"\0\1" + b"mask" + b"x",
            "cut": ws(0x82, b"x" * 100, m)[:50],
        }
        for name, data in cases.items():
            write("fuzz_websocket", f"{side}-{name}", pick + data)


def frame(kind, stream=0, payload=b"", flags=0):
    return struct.pack(">BBHI", kind, flags, len(payload), stream) + payload


SETTINGS = frame(0x13, 0, struct.pack(">HQHQHQ", 1, 100, 2, 65536, 3, 1 << 20))


def opens(stream, app=0, window=1 << 20):
    return frame(2, stream, struct.pack(">IQ16sH", app, window, b"\0" * 15 + b"\1", 4711))


def data(stream, payload=b"data", fin=False):
    return frame(1, stream, payload, 1 if fin else 0)


def u64(kind, stream, value):
    return frame(kind, stream, struct.pack(">Q", value))


def u16(kind, stream, value, rest=b""):
    return frame(kind, stream, struct.pack(">H", value) + rest)


def script(*steps):
    """Bytes are a record, pairs are local (what, value)."""
    out = b""
    for step in steps:
        if isinstance(step, bytes):
            assert len(step) < 0xc0
            out += bytes([len(step)]) + step
        else:
            out += bytes([0xc0 + step[0], step[1]])
    return out


def mux():
    fill, accept, refuse, readable, writable, reset, open_one, clock = range(8)
    takes_all, takes_half, takes_nothing, breaks = 0x8, 0x4, 0x0, 0xc
    has_data, has_end, is_broken = 3, 1, 2 | 64
    app = struct.pack(">IHB", 1, 80, 3) + b"web" + b"\4http"
    client = {
        "whole": (SETTINGS, opens(2), data(2), (accept, 2 | takes_all), data(2, b"more", True), (readable, 2 | has_end),
                  (fill, has_end), (fill, 0)),
        "early-end": (SETTINGS, opens(2), data(2, b"x", True), (accept, 2 | takes_all), (fill, 0)),
        "spill": (SETTINGS, opens(2), (accept, 2), (clock, takes_nothing), data(2, b"x" * 170), data(2, b"y" * 170),
                  (clock, takes_half), (writable, 2 | takes_half), (writable, 2 | takes_all), (fill, 0)),
        "reset": (SETTINGS, opens(2), (accept, 2), data(2, b"x" * 100), u16(5, 2, 1), data(2, b"late"), (fill, 0)),
        "refused": (SETTINGS, opens(2, 3), opens(4), (refuse, 4), (fill, 0)),
        "write-breaks": (SETTINGS, opens(2), (accept, 2), (clock, breaks), data(2), (fill, 0)),
        "read-breaks": (SETTINGS, opens(2), (accept, 2), (readable, 2), (fill, is_broken), (fill, 0)),
        "stop": (SETTINGS, opens(2), u16(6, 2, 0), (accept, 2), (fill, has_data), (fill, has_data)),
        "too-many": (SETTINGS, *(opens(i) for i in range(2, 24, 2)), (fill, 0)),
        "credit": (SETTINGS, u64(7, 0, 5), u64(7, 0, 1 << 40), opens(2, 0, 0), (accept, 2), (readable, 2),
                   (fill, has_data), u64(7, 2, 50), (fill, has_data), u64(7, 2, 1 << 50), (fill, has_data)),
        "close": (SETTINGS, opens(2), (accept, 2), frame(0x14)),
        "ping": (SETTINGS, u64(0x10, 0, 7), u64(0x11, 0, 7), u64(8, 0, 9), frame(0, 0, b"pad"), (fill, 0)),
        "rtt": (SETTINGS, (clock, 254), (fill, 0), (clock, 9), u64(0x11, 0, 1), u64(0x11, 0, 1)),
        "end-of-ours": (SETTINGS, opens(2), (clock, 253), (clock, 255), (fill, 0), (clock, 253), (fill, 0)),
        "credit-wakes": (SETTINGS[:8] + struct.pack(">HQHQ", 1, 100, 2, 65536), opens(2), (accept, 2), (readable, 2), u64(7, 0, 1 << 30),
                         (fill, has_data)),
        "settings-of-a-newer-one": (frame(0x13, 0, struct.pack(">HQHQ", 9, 5, 1, 8)), opens(2)),
        "bad-settings-repeated": (frame(0x13, 0, struct.pack(">HQHQ", 1, 8, 1, 8)),),
        "bad-settings-huge": (frame(0x13, 0, struct.pack(">HQ", 3, 1 << 63)),),
        "goaway-twice": (SETTINGS, (clock, 255), (clock, 255), frame(0x12, 0, struct.pack(">IH", 0, 16)), (fill, 0)),
        "ack": (SETTINGS, frame(0x22, 0, struct.pack(">IHB", 1, 0, 3) + b"a:1" + b"\0")),
        "goaway": (SETTINGS, opens(2), (clock, 255), opens(4), (fill, 0)),
        "bad-first": (u64(0x10, 0, 7),),
        "bad-id": (SETTINGS, opens(3)),
        "bad-stranger": (SETTINGS, data(8)),
        "bad-after-end": (SETTINGS, opens(2), data(2, b"", True), data(2)),
        "bad-cut": (SETTINGS[:20],),
        "bad-flags": (SETTINGS, frame(0x10, 0, bytes(8), 0x80)),
        "bad-size": (SETTINGS, frame(0x10, 0, bytes(7))),
        "bad-type": (SETTINGS, frame(0x7f)),
        "bad-on-connection": (SETTINGS, frame(1, 0, b"x")),
        "bad-on-stream": (SETTINGS, u64(0x10, 2, 1)),
        "bad-after-close": (SETTINGS, frame(0x14) + u64(0x10, 0, 1)),
        "bad-head": (SETTINGS, b"\x10\0\0"),
        "bad-length": (SETTINGS, struct.pack(">BBHI", 0, 0, 99, 0)),
        "bad-credit": (SETTINGS, opens(2), (accept, 2), u64(7, 2, 1 << 63)),
        "bad-connection-credit": (SETTINGS, u64(7, 0, 1 << 63)),
        "bad-window": (SETTINGS, opens(2, 0, 1 << 63)),
        "bad-settings-twice": (SETTINGS, SETTINGS),
        "more-than-the-stream": (SETTINGS, opens(2), *([data(2, b"x" * 170)] * 500)),
        "more-than-the-connection": (SETTINGS, *(opens(i) for i in range(2, 12, 2)),
                                     *(data(2 + 2 * (i % 5), b"x" * 170) for i in range(1500))),
        "blocked": (SETTINGS, opens(2), (accept, 2), u64(8, 2, 1)),
        "data-then-reset-in-one": (SETTINGS, opens(2), (accept, 2), data(2, b"x" * 50) + u16(5, 2, 1)),
        "data-then-credit-in-one": (SETTINGS, opens(2), (accept, 2 | takes_all), data(2, b"x" * 50) + u64(7, 2, 1 << 30)),
        "data-then-stop-in-one": (SETTINGS, opens(2), (accept, 2), (clock, breaks), data(2, b"x" * 50) + u16(6, 2, 1)),
        "stop-twice": (SETTINGS, opens(2), (accept, 2), u16(6, 2, 0), u16(6, 2, 0), (fill, has_data)),
        "unknown-apps": (SETTINGS, *(opens(i, 9) for i in range(2, 700, 2))),
        "opened-and-reset": (SETTINGS, *(opens(i) + u16(5, i, 1) for i in range(2, 700, 2))),
        "answers-unread": (SETTINGS, *(opens(i, 9) for i in range(2, 3000, 2))),
        "bad-app": (SETTINGS, frame(0x22, 0, struct.pack(">IHB", 1, 0, 200) + b"x")),
    }
    server = {
        "whole": (SETTINGS, (open_one, 1), (readable, 2), (fill, has_data), u64(3, 2, 1 << 20), data(2), (fill, has_end),
                  data(2, b"", True), (fill, 0)),
        "refused": (SETTINGS, (open_one, 1), (fill, 0), u16(4, 2, 2, b"refused"), (fill, 0)),
        "goaway": (SETTINGS, (open_one, 1), (open_one, 1), (fill, 0), frame(0x12, 0, struct.pack(">IH", 2, 16)), (fill, 0)),
        "apps": (SETTINGS, frame(0x20, 0, app), frame(0x21, 0, struct.pack(">I", 1)), (fill, 0)),
        "reset-before-answer": (SETTINGS, (open_one, 1), (reset, 2), (fill, 0), u64(3, 2, 9), data(2)),
        "bad-open": (SETTINGS, opens(2)),
        "bad-data-before-ok": (SETTINGS, (open_one, 1), (fill, 0), data(2)),
        "late-answer": (SETTINGS, (open_one, 1), (fill, 0), u64(3, 2, 9), u16(4, 2, 2)),
        "credit-before-answer": (SETTINGS, (open_one, 1), (fill, 0), u64(7, 2, 9)),
        "stop-and-fill": (SETTINGS, (open_one, 1), (fill, 0), u64(3, 2, 1 << 20), (readable, 2), u16(6, 2, 0),
                          (fill, has_data), (fill, has_end)),
        "bad-limit": (SETTINGS, (open_one, 1), (fill, 0), u64(3, 2, 1 << 63)),
    }
    write("fuzz_mux", "record-forged", b"\x20\0\0\0" + b"x" * 60)
    write("fuzz_mux", "record-of-nothing", b"\x20\0\0\0" + b"x" * 16)
    for name, steps in client.items():
        write("fuzz_mux", "client-" + name, b"\0" + script(*steps))
    for name, steps in server.items():
        write("fuzz_mux", "server-" + name, b"\1" + script(*steps))


def service(annotations="", spec='"clusterIP":"10.0.0.1","ports":[{"name":"http","port":80}]', metadata='"uid":"u"', line=True):
    wormhole = "wormhole.glothriel.github.com/"
    text = (f'{{"metadata":{{"namespace":"n","name":"s",{metadata},"annotations":{{"{wormhole}exposed":"yes"'
            + "".join(f',"{wormhole}{key}":{value}' for key, value in annotations) + f'}}}},"spec":{{{spec}}}}}')
    text = f'{{"type":"ADDED","object":{text}}}\n' if line else text
    assert len(text) <= 512, text
    return text.encode()


def kubernetes():
    ports = '"ports":[{"name":"dns","port":53,"protocol":"UDP"},{"name":"dns-tcp","port":53,"targetPort":5353},{"name":"http","port":80}]'
    cases = {
        "all-ports": service(spec=ports), "by-number": service([("ports", '"53,80"')], ports), "by-name": service([("ports", '" http , dns"')], ports),
        "unknown-port": service([("ports", '"ssh,"')], ports), "no-port": service([("ports", '" , "')], ports), "ports-odd": service([("ports", "7")], ports),
        "name": service([("name", '"web"')]), "bad-name": service([("name", '"Web_"')]), "name-odd": service([("name", "[]")]),
        "headless": service(spec='"clusterIP":"None","ports":[{"port":80,"targetPort":8080}]'), "no-cluster-ip": service(spec='"ports":[{"port":80}]'),
        "external": service(spec='"type":"ExternalName","externalName":"x"'), "udp-only": service(spec='"ports":[{"port":53,"protocol":"UDP"}]'),
        "no-ports": service(spec='"ports":[]'), "port-0": service(spec='"ports":[{"port":0}]'), "port-text": service(spec='"ports":[{"port":"80"}]'),
        "port-huge": service(spec='"ports":[{"port":65536}]'), "ports-not-a-list": service(spec='"ports":{"port":80}'), "no-uid": service(metadata='"x":1'),
        "uid-with-nul": service(metadata='"uid":"a\\u0000b"'), "long-app-protocol": service(spec='"ports":[{"port":1,"appProtocol":"' + "p" * 90 + '"}]'),
        "many-ports": service(spec='"ports":[' + ",".join(['{"port":1}'] * 33)[:330].rsplit(",", 1)[0] + "]"),
        "not-a-spec": service().replace(b'"spec":{', b'"spac":{'), "numbers": b'{"type":"ADDED","object":5}\n{"type":7}\n[]\n"x"\n',
    }
    for name, text in cases.items():
        write("fuzz_k8s_stream", "service-" + name, b"0 " + text)


http()
websocket()
mux()
kubernetes()
