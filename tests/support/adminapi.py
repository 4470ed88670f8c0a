# SPDX-License-Identifier: Apache-2.0
"""
Talking to the admin API and the metrics port in tests: requests with every header under the test's control, raw
bytes, and a strict reader of Prometheus text. It must not be lenient where a real client is strict.
"""
import http.client
import json
import re
import socket
from types import SimpleNamespace

from tunnel import PATIENCE

METRICS = ("--metrics", "--metrics-host", "127.0.0.1", "--metrics-port", "0")


def metrics_port(host):
    """The port of --metrics of a server or client started with METRICS."""
    return int(host.wait_log(r"metrics and health on \S+:(\d+)", host.starts).group(1))


def call(port, method, path, token=None, host="127.0.0.1", headers=None, timeout=PATIENCE):
    """One request on a connection of its own: .status, .headers, .body, .json."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        fields = {"Host": f"localhost:{port}", **(headers or {})}
        if token is not None:
            fields["Authorization"] = "Bearer " + token
        for name, value in fields.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    is_json = answer.getheader("Content-Type") == "application/json" and body
    return SimpleNamespace(status=answer.status, headers=answer.headers, body=body,
                           json=json.loads(body) if is_json else None)


def raw(port, data, timeout=PATIENCE, shut=False):
    """Sends bytes and gives everything until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(data)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        received = bytearray()
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
        return bytes(received)


SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?(?:[0-9.]+(?:e[+-]?[0-9]+)?|\+?Inf|NaN))')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


class Metrics:
    """A parsed exposition: .values[(name, ((label, value), …))], .types, .help; refuses what Prometheus would."""

    def __init__(self, text):
        self.values, self.types, self.help = {}, {}, {}
        family, seen = None, []
        assert text.endswith("\n")
        for line in text.splitlines():
            if line.startswith("# HELP "):
                _, _, name, words = line.split(" ", 3)
                assert name not in seen, f"{name} comes twice"
                assert words
                seen.append(name)
                family, self.help[name] = name, words
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name == family
                self.types[name] = kind
            else:
                match = SAMPLE.fullmatch(line)
                assert match, line
                name, labels, value = match.groups()
                base = re.sub(r"_(bucket|sum|count)$", "", name) if self.types[family] == "histogram" else name
                assert base == family, f"{name} under {family}"
                pairs = tuple(sorted(self._labels(labels or "")))
                assert (name, pairs) not in self.values, f"{line} comes twice"
                self.values[name, pairs] = float(value.replace("Inf", "inf"))

    @staticmethod
    def _labels(text):
        at, pairs = 0, []
        while at < len(text):
            match = LABEL.match(text, at)
            assert match, text
            pairs.append((match[1], match[2]))
            at = match.end()
        assert len(dict(pairs)) == len(pairs)
        return pairs

    def get(self, name, **labels):
        return self.values[name, tuple(sorted(labels.items()))]

    def series(self, name):
        return {labels: value for (n, labels), value in self.values.items() if n == name}


def scrape(port):
    answer = call(port, "GET", "/metrics", headers={"Host": f"127.0.0.1:{port}"})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Metrics(answer.body.decode())
