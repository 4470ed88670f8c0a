# SPDX-License-Identifier: Apache-2.0
"""
Real proxies for the integration tests: nginx and HAProxy in front of a server, tinyproxy on the way out of an edge, and
a certificate authority of our own. Each runs in its own directory on a port of its own. It must not check anything.
"""
import os
import shutil
import socket
import subprocess

import tunnel
from tunnel import wait


def program(name):
    """The path of a program; the tests are skipped without it."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")


def listens(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return True


class Authority:
    """A CA, and certificates for names and addresses. Files are PEM."""

    def __init__(self, directory, name="Test CA"):
        self.dir = directory
        self.ca = os.path.join(directory, "ca.pem")
        self.key = os.path.join(directory, "ca.key")
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key,
                 "-out", self.ca, "-days", "30", "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
                 "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        os.chmod(self.ca, 0o644)

    @staticmethod
    def run(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def certificate(self, names, days=30, label="server"):
        """(certificate, key, both in one file) for a list like ["DNS:hub.test", "IP:127.0.0.1"]."""
        base = os.path.join(self.dir, label)
        with open(base + ".ext", "w", encoding="ascii") as f:
            f.write(f"subjectAltName={','.join(names)}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
        self.run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", base + ".key",
                 "-out", base + ".csr", "-subj", "/CN=hub")
        self.run("x509", "-req", "-in", base + ".csr", "-CA", self.ca, "-CAkey", self.key, "-CAcreateserial", "-days",
                 str(days), "-extfile", base + ".ext", "-out", base + ".crt")
        with open(base + ".pem", "wb") as both:
            for part in (base + ".crt", base + ".key"):
                with open(part, "rb") as f:
                    both.write(f.read())
        return base + ".crt", base + ".key", base + ".pem"


class Front:
    """A reverse proxy on `port` in front of the server's tunnel port."""

    def __init__(self, hosts, kind, target, tls=None, idle="60s"):
        self.hosts, self.kind, self.port = hosts, kind, tunnel.free_port()
        self.dir = hosts.directory(f"{kind}-{self.port}")
        self.config = os.path.join(self.dir, "config")
        with open(self.config, "w", encoding="ascii") as f:
            f.write(getattr(self, "_" + kind)(target, tls, idle))
        if kind == "nginx":
            argv = [program("nginx"), "-p", self.dir, "-c", self.config, "-e", os.path.join(self.dir, "error.log")]
        else:
            argv = [program("haproxy"), "-db", "-f", self.config]
        self.process = hosts.spawn(kind, argv)
        self.wait()

    def wait(self):
        wait(lambda: listens(self.port), f"{self.kind} to listen")

    def restart(self):
        self.process.stop()
        self.process.start()
        self.wait()

    def _nginx(self, target, tls, idle):
        secure = f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};" if tls else ""
        return f"""
daemon off; worker_processes 1; pid {self.dir}/pid; {"user root;" if tunnel.AS_ROOT else ""}
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {self.dir}/body; proxy_temp_path {self.dir}/proxy;
  fastcgi_temp_path {self.dir}/fastcgi; uwsgi_temp_path {self.dir}/uwsgi; scgi_temp_path {self.dir}/scgi;
  server {{
    listen 127.0.0.1:{self.port}{" ssl" if tls else ""}; {secure}
    location /wh/ {{
      proxy_pass http://127.0.0.1:{target}; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_read_timeout {idle}; proxy_send_timeout {idle};
    }}
    location /forbidden/ {{ return 403; }}
  }}
}}
"""

    def _haproxy(self, target, tls, idle):
        secure = f" ssl crt {tls[2]}" if tls else ""
        return f"""
global
  maxconn 256
defaults
  mode http
  timeout connect 5s
  timeout client {idle}
  timeout server {idle}
  timeout tunnel {idle}
  option forwardfor
frontend front
  bind 127.0.0.1:{self.port}{secure}
  http-request deny if {{ path_beg /forbidden }}
  default_backend hub
backend hub
  server hub 127.0.0.1:{target}
"""


class Tinyproxy:
    """An HTTP CONNECT proxy; credentials is None or (user, password)."""

    def __init__(self, hosts, credentials=None, allowed_port=None):
        self.port = tunnel.free_port()
        self.dir = hosts.directory(f"tinyproxy-{self.port}")
        config = os.path.join(self.dir, "config")
        with open(config, "w", encoding="ascii") as f:
            f.write(f"Port {self.port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 50\nLogLevel Info\n")
            if credentials:
                f.write("BasicAuth {} {}\n".format(*credentials))
            if allowed_port:
                f.write(f"ConnectPort {allowed_port}\n")
        self.process = hosts.spawn("tinyproxy", [program("tinyproxy"), "-d", "-c", config])
        wait(lambda: listens(self.port), "tinyproxy to listen")

    def tunnels(self):
        return self.process.count("CONNECT ")
