# SPDX-License-Identifier: Apache-2.0
"""
An HTTPS proxy in front of a real API server that makes, on request, the faults that a network or a busy server
makes: refusals, cut and frozen streams, broken and over-long lines. Everything that is not a fault is passed on
unchanged, so that what a worker sees is the real server's. It must not answer in the real server's place otherwise.
"""
import http.client
import http.server
import queue
import re
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


def make_certificate(directory, name):
    """A self-signed certificate for 127.0.0.1 and NAME.test; (certificate, key) paths."""
    certificate, key = Path(directory) / f"{name}.crt", Path(directory) / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", f"/CN={name}", "-addext",
                    f"subjectAltName=IP:127.0.0.1,DNS:{name}.test", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    return certificate, key


class Rule:
    """Applies to the next `times` requests whose "METHOD path" matches the pattern."""

    def __init__(self, pattern, times, **fault):
        self.pattern, self.times, self.fault = re.compile(pattern), times, fault
        self.hits = 0


class Stream:
    """A watch that is open now."""

    def __init__(self, path):
        self.path = path
        self.queue = queue.Queue()
        self.lines = 0

    def inject(self, data):
        """Puts these bytes between two lines of the server's."""
        self.queue.put(data)

    def cut(self):
        self.queue.put("cut")

    def end(self):
        """Ends the answer in an orderly way."""
        self.queue.put("end")

    def freeze(self):
        """Nothing more passes, and nobody hangs up: a half-open connection."""
        self.queue.put("freeze")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (OSError, http.client.HTTPException):
            self.close_connection = True

    def relay(self):
        proxy = self.server.proxy
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        entry = {"time": time.monotonic(), "method": self.command, "path": self.path, "body": body,
                 "headers": dict(self.headers), "status": None}
        with proxy.lock:
            proxy.requests.append(entry)
        fault = proxy.fault_for(f"{self.command} {self.path}")
        if "status" in fault:
            entry["status"] = fault["status"]
            self.answer(fault["status"], fault.get("headers", {}), fault.get("body", b""))
        elif fault.get("hang"):
            proxy.wait_closed(self.connection)
            self.close_connection = True
        elif fault.get("drop"):
            self.abort()
        else:
            self.forward(entry, body, fault)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = relay

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def abort(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def forward(self, entry, body, fault):
        proxy = self.server.proxy
        upstream = http.client.HTTPSConnection("127.0.0.1", proxy.target, timeout=700,
                                               context=ssl._create_unverified_context())  # noqa: S323: loopback
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
        try:
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
        except (OSError, http.client.HTTPException):
            self.abort()  # what a client sees of a server that is not there
            return
        entry["status"] = answer.status
        passed = {k: v for k, v in answer.getheaders() if k.lower() not in HOP}
        if "watch=1" in self.path and answer.status == 200:
            self.stream(answer, passed)
        else:
            text = answer.read()
            text = fault["mangle"](text) if "mangle" in fault else text
            if "truncate" in fault:
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text[:fault["truncate"]])
                self.abort()
            else:
                self.answer(answer.status, passed, text)
        upstream.close()

    def stream(self, answer, headers):
        proxy, stream = self.server.proxy, Stream(self.path)

        def read():
            try:
                for line in iter(answer.readline, b""):
                    stream.lines += 1
                    stream.queue.put(line)
                stream.queue.put("end")
            except (OSError, http.client.HTTPException, ValueError, AttributeError):
                stream.queue.put("cut")

        threading.Thread(target=read, daemon=True).start()
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with proxy.lock:
            proxy.streams.append(stream)
        try:
            self.pump(stream)
        finally:
            with proxy.lock:
                proxy.streams.remove(stream)
            try:
                answer.fp.raw._sock.shutdown(socket.SHUT_RDWR)  # ends read() and the server's side
            except (OSError, AttributeError):
                pass

    def pump(self, stream):
        while True:
            try:
                item = stream.queue.get(timeout=0.2)
            except queue.Empty:
                if self.server.proxy.is_closed(self.connection):
                    self.close_connection = True
                    return
                continue
            if item == "cut":
                self.abort()
                return
            if item == "freeze":
                self.server.proxy.wait_closed(self.connection)
                self.close_connection = True
                return
            if item == "end":
                self.wfile.write(b"0\r\n\r\n")
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(item), item))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        pass


class FaultProxy:
    def __init__(self, directory, target, name="faulty"):
        self.target = target
        self.lock = threading.Lock()
        self.rules, self.requests, self.streams = [], [], []
        self.certificate, key = make_certificate(directory, name)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.proxy = self
        self.server.socket = self.context.wrap_socket(self.server.socket, server_side=True,
                                                      do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def renew_certificate(self, directory, name):
        """From now on new connections get a certificate that the old CA does not know."""
        self.certificate, key = make_certificate(directory, name)
        self.context.load_cert_chain(self.certificate, key)

    def add(self, pattern, times=1, **fault):
        rule = Rule(pattern, times, **fault)
        with self.lock:
            self.rules.append(rule)
        return rule

    def fault_for(self, request):
        with self.lock:
            for rule in self.rules:
                if rule.hits < rule.times and rule.pattern.search(request):
                    rule.hits += 1
                    return rule.fault
        return {}

    def clear(self):
        with self.lock:
            self.rules.clear()

    def seen(self, pattern, since=0):
        with self.lock:
            entries = self.requests[since:]
        return [e for e in entries if re.search(pattern, f"{e['method']} {e['path']}")]

    def count(self):
        with self.lock:
            return len(self.requests)

    def watches(self, pattern=""):
        with self.lock:
            return [s for s in self.streams if re.search(pattern, s.path)]

    def is_closed(self, connection):
        """Has the client hung up? A TLS socket that polls as readable with nothing to read has."""
        try:
            connection.settimeout(0.0)
            data = connection.recv(1)
            return data == b""
        except (ssl.SSLWantReadError, BlockingIOError):
            return False
        except OSError:
            return True
        finally:
            try:
                connection.settimeout(None)
            except OSError:
                pass

    def wait_closed(self, connection):
        while not self.is_closed(connection):
            time.sleep(0.05)

    def close(self):
        for stream in self.watches():
            stream.cut()
        self.server.shutdown()
        self.server.server_close()


def query(entry):
    """The query parameters of a logged request."""
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(entry["path"]).query))
