# SPDX-License-Identifier: Apache-2.0
"""The plain yardsticks (nothing at all, HAProxy, nginx) and stunnel: pairs of relays, the server side's
dialling the client side's. They keep their defaults but for time-outs and the number of connections."""

from .. import machine
from .base import Subject


class Direct(Subject):
    name, label = "direct", "plain TCP, direct"
    encrypted = tunnel = False

    def prepare(self):
        self.endpoint = f"{self.place.client_address}:{self.app.port}"

    def launch(self):
        pass

    def check_port(self):
        pass  # the application's own

    def timed_start(self):
        return None


class Haproxy(Subject):
    name, label = "haproxy", "HAProxy + HAProxy"
    needs = ("haproxy",)
    encrypted = tunnel = False
    # One thread each: one process per side that moves bytes, as the others are, and the steadier yardstick.
    threads = 1

    def capacity(self):
        return min(12000, machine.descriptors() // 2 - 60)

    def prepare(self):
        front, back = machine.free_port(), machine.free_port()
        hops = {
            "server": (f"127.0.0.1:{front}", f"{self.place.client_address}:{back}"),
            "client": (f"{self.place.client_address}:{back}", self.app.address),
        }
        for side, (bind, target) in hops.items():
            self.write(f"{side}.cfg", f"""global
    maxconn {self.capacity()}
    nbthread {self.threads}
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen hop
    bind {bind} backlog 4096
    server next {target}
""")
        self.endpoint = hops["server"][0]

    def launch(self):
        for side in ("client", "server"):
            self.spawn(side, [self.kit.program("haproxy"), "-db", "-f", self.directory / f"{side}.cfg"])


class HaproxyAgain(Haproxy):
    """The same once more: what it differs from the first one is the bench's own error."""

    name, label = "haproxy-again", "HAProxy + HAProxy, a second time"
    is_control = True


class HaproxyThreads(Haproxy):
    """As it comes: a thread for each core on both sides."""

    name, label = "haproxy-threads", "HAProxy + HAProxy, thread per core"
    short = "HAProxy pair, threads"
    threads = machine.CORES


NGINX = """{modules}
daemon off;
pid {directory}/{side}.pid;
error_log {directory}/{side}.log warn;
worker_processes auto;
events {{ worker_connections {connections}; }}
{body}
"""
STREAM_MODULE = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;"


class NginxStream(Subject):
    name, label = "nginx", "nginx + nginx (stream)"
    needs = ("nginx",)
    encrypted = tunnel = False

    @classmethod
    def missing(cls, kit):
        try:
            open(STREAM_MODULE.split()[1].rstrip(";"), "rb").close()
        except OSError:
            return "nginx has no stream module here"
        return super().missing(kit)

    def prepare(self):
        front, back = machine.free_port(), machine.free_port()
        hops = {
            "server": (f"127.0.0.1:{front}", f"{self.place.client_address}:{back}"),
            "client": (f"{self.place.client_address}:{back}", self.app.address),
        }
        for side, (bind, target) in hops.items():
            body = (f"stream {{ server {{ listen {bind} backlog=4096; proxy_pass {target}; proxy_timeout 1h; "
                    "tcp_nodelay on; } }")
            self.write(f"{side}.conf", NGINX.format(modules=STREAM_MODULE, directory=self.directory,
                                                    side=side, body=body,
                                                    connections=machine.descriptors()))
        self.endpoint = hops["server"][0]

    def launch(self):
        for side in ("client", "server"):
            self.spawn(side, [self.kit.program("nginx"), "-c", self.directory / f"{side}.conf", "-p",
                              self.directory, "-e", self.directory / f"{side}.log"])


class Stunnel(Subject):
    name, label = "stunnel", "stunnel + stunnel (TLS 1.3, AES-256-GCM)"
    short = "stunnel + stunnel"
    needs = ("stunnel4",)
    tunnel = False

    def prepare(self):
        front, back = machine.free_port(), machine.free_port()
        certificate, key = self.certificate()
        common = ("foreground = yes\nsyslog = no\ndebug = 3\nsocket = l:TCP_NODELAY=1\n"
                  "socket = r:TCP_NODELAY=1\nTIMEOUTidle = 3600\nsslVersionMin = TLSv1.3\n"
                  "ciphersuites = TLS_AES_256_GCM_SHA384\npid =\n[hop]\n")
        self.endpoint = f"127.0.0.1:{front}"
        self.write("server.conf", common + f"client = yes\naccept = {self.endpoint}\n"
                   f"connect = {self.place.client_address}:{back}\nverifyChain = yes\n"
                   f"CAfile = {certificate}\n")
        self.write("client.conf", common + f"accept = {self.place.client_address}:{back}\n"
                   f"connect = {self.app.address}\ncert = {certificate}\nkey = {key}\n")

    def launch(self):
        for side in ("client", "server"):
            self.spawn(side, [self.kit.program("stunnel4"), self.directory / f"{side}.conf"])
