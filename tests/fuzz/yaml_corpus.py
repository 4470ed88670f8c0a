#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Writes kept inputs of fuzz_config and fuzz_kubeconfig: one small file for every complaint that the two readers can make."""
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"
SERVER, CLIENT = b"0", b"1"  # fuzz_config's first byte


def write(target, name, data):
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / name).write_bytes(data)


CONFIG = {
    "not-yaml": "port: [80\n", "tab-inside": "a:\n\t- b\n", "top-list": "- port\n", "top-scalar": "port\n", "only-comment": "# x\n",
    "empty-document": "---\n", "two-documents": "port: 80\n---\nport: 81\n", "end-marker": "port: 80\n...\n",
    "list-key": "? [a]\n: b\n", "map-key": "? {a: b}\n: c\n", "unknown": "prot: 80\n", "twice": "port: 80\nport: 81\n",
    "no-value": "port:\n", "tilde": "port: ~\n", "quoted-number": "port: \"80\"\n", "quoted-bool": "port-use-range: 'yes'\n",
    "quoted-time": "grace: \"30s\"\n", "quoted-size": "max-record: \"32k\"\n", "list-for-one": "port: [80]\n", "map-for-one": "port: {a: 1}\n",
    "one-for-list": "trusted-proxies: 10.0.0.0/8\n", "list-in-list": "trusted-proxies: [[a]]\n",
    "map-in-list": "trusted-proxies: [{a: b}]\n", "nothing-in-list": "trusted-proxies: []\n", "good-list": "trusted-proxies: [10.0.0.0/8, '::1']\n",
    "bad-in-list": "trusted-proxies: [nonsense]\n", "alias": "host: &a x\napp-host: *a\n", "alias-key": "&a host: x\n", "tag-here": "host: !!str x\n",
    "tag-list": "trusted-proxies: !!seq [a]\n", "anchor-list": "trusted-proxies: &l [a]\n", "nul-inside": "host: \"a\\0b\"\n",
    "nul-key": "\"po\\0rt\": 80\n", "over-range": "port: 65536\n", "not-a-number": "port: eighty\n", "long-text": "host: " + "a" * 300 + "\n",
    "cut-in-list": "trusted-proxies: [a,", "cut-in-map": "port: {", "cut-in-text": "host: \"abc", "alias-unknown": "host: *nobody\n",
    "null-in-list": "trusted-proxies: [~, '']\n", "client-only": "expose: [a]\n", "block-scalar": "host: |\n  a\n  b\n",
}
EXPOSE = {
    "apps": "expose:\n  - 127.0.0.1:80\n  - {name: web, address: 127.0.0.1:80}\n", "no-address": "expose: [{name: web}]\n",
    "unknown-key": "expose: [{nome: web}]\n", "name-twice": "expose: [{name: a, name: b}]\n", "address-twice": "expose: [{address: a:1, address: b:1}]\n",
    "name-list": "expose: [{name: [a], address: b:1}]\n", "address-map": "expose: [{address: {a: b}}]\n", "key-list": "expose: [{[a]: b}]\n",
    "key-map": "expose: [{{a: b}: c}]\n", "empty-name": "expose: [{name: '', address: a:1}]\n", "empty-address": "expose: [{address: ''}]\n",
    "long-name": "expose: [{name: " + "n" * 80 + ", address: a:1}]\n", "long-address": "expose: [{address: " + "h" * 400 + "}]\n",
    "bad-name": "expose: [{name: Web_1, address: a:1}]\n", "bad-address": "expose: [{name: web, address: 'a:b:c:d'}]\n", "no-port": "expose: [{address: host}]\n",
    "list-item": "expose: [[a]]\n", "number-item": "expose: [80]\n", "null-item": "expose: [~]\n", "null-name": "expose: [{name: ~, address: a:1}]\n",
    "scalar": "expose: a:1\n", "map": "expose: {a: b}\n", "alias-item": "expose: [&a x:1, *a]\n", "alias-in-app": "expose: [{name: &a x, address: *a}]\n",
    "anchor-app": "expose: [&a {address: a:1}]\n", "tag-app": "expose: [!!map {address: a:1}]\n", "tag-name": "expose: [{name: !!str a, address: b:1}]\n",
    "nul-name": "expose: [{name: \"a\\0b\", address: c:1}]\n", "cut-app": "expose: [{name: a,", "cut-value": "expose: [{name:", "cut-key": "expose: [{",
    "two-of-one-name": "expose: [{name: a, address: b:1}, {name: a, address: c:1}]\n", "nul-key": "expose: [{\"na\\0me\": a}]\n",
    "alias-key": "expose: [{*a : b}]\n",
}

# One option each, for the readers of values.
SERVERS = ["wss://hub.example:8443/wh/tunnel?x", "WS://h", "ws://[::1]:80/", "hub.example", "http://h/", "ws://", "ws://h:0/", "ws://h:x/", "ws://a b/",
           "ws://h\\\\x/", "ws://u@h/", "ws://" + "h" * 400 + "/", "ws://h/" + "p" * 900, "ftps+longscheme+more://h", "ws://h_%/"]
PROXIES = ["http://p:3128", "http://u:p%40w@p:3128", "http://u%4@p", "http://u%zz@p", "http://u%00@p", "http://u%c3%A4:x@p", "http://" + "u" * 400 + "@p",
           "http://u:" + "p" * 400 + "@p", "http://u%3Ax@p", "none", "https://p", "http://@p", "p:3128"]
NETWORKS = ["10.0.0.0/8", "10.0.0.1", "2001:db8::/32", "::1", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/8x", "/8", "x/8", "10.0.0/8", "1" * 80, "::ffff:10.0.0.1/100"]
EXPOSED = ["Host_Name.local:80", "---:80", "name=web,address=h:1", "name=web", "name=web,nam=x", "name=a,name=b,address=h:1", "name=,address=h:1",
           "name=" + "n" * 80 + ",address=h:1", "address=" + "h" * 400, "h", "h:0", "h:65536", ":80", "[::1]:80", "a..b:80", "name=UP,address=h:1"]
VALUES = ["ping-interval: 5", "ping-interval: 5 parsecs", "ping-interval: 99999999999999999999s", "max-record: 32q", "stream-window: 8M", "stream-window: 9999999999999G",
          "grace: -1s", "log-level: loud", "acceptor: nobody", "sandbox: maybe", "metrics: perhaps", "path: ''", "path: wh", "max-pending: 0x10", "max-pending: 10 ",
          "max-startups: 10:30", "max-startups: 10:30:100", "max-startups: 100:30:10", "preapproved: [a, a]", "server-fingerprint: SHA256:x", "name: Edge One",
          "state-dir: " + "d" * 300, "trusted-proxies: [10.0.0.0/8, 10.0.0.0/8]"]


def kubeconfig(cluster="server: https://127.0.0.1:6443", user="token: t", context="{cluster: k, user: u}", current="c", extra=""):
    return (f"apiVersion: v1\nkind: Config\ncurrent-context: {current}\nclusters: [{{name: k, cluster: {{{cluster}}}}}]\n"
            f"users: [{{name: u, user: {{{user}}}}}]\ncontexts: [{{name: c, context: {context}}}]\n{extra}")


KUBE = {
    "good-token": kubeconfig(), "good-certificate": kubeconfig(user="client-certificate-data: YQ==, client-key-data: Yg=="),
    "ca-data": kubeconfig(cluster="server: https://a, certificate-authority-data: YQ=="),
    "ca-file": kubeconfig(cluster="server: https://a, certificate-authority: /etc/hostname"),
    "ca-relative": kubeconfig(cluster="server: https://a, certificate-authority: ca.crt"),
    "ca-missing": kubeconfig(cluster="server: https://a, certificate-authority: /nonexistent/ca"),
    "ca-both": kubeconfig(cluster="server: https://a, certificate-authority: /etc/hostname, certificate-authority-data: YQ=="),
    "ca-bad": kubeconfig(cluster="server: https://a, certificate-authority-data: '!!!!'"),
    "ca-cut": kubeconfig(cluster="server: https://a, certificate-authority-data: YQ="),
    "insecure": kubeconfig(cluster="server: https://a, insecure-skip-tls-verify: true"),
    "server-name": kubeconfig(cluster="server: https://a, tls-server-name: b"),
    "server-http": kubeconfig(cluster="server: http://a"), "server-none": kubeconfig(cluster=""), "server-bad": kubeconfig(cluster="server: https://:x"),
    "server-path": kubeconfig(cluster="server: 'https://a:1/path/'"), "server-v6": kubeconfig(cluster="server: 'https://[::1]:6443'"),
    "server-long": kubeconfig(cluster="server: https://" + "a" * 400), "proxy-url": kubeconfig(cluster="server: https://a, proxy-url: http://p"),
    "token-file": kubeconfig(user="tokenFile: /etc/hostname"), "token-missing": kubeconfig(user="tokenFile: /nonexistent/t"),
    "token-relative": kubeconfig(user="tokenFile: t"), "token-both": kubeconfig(user="token: a, tokenFile: /etc/hostname"),
    "token-long": kubeconfig(user="token: " + "t" * 20000), "token-empty": kubeconfig(user="token: ''"),
    "certificate-alone": kubeconfig(user="client-certificate-data: YQ=="), "key-alone": kubeconfig(user="client-key-data: YQ=="),
    "certificate-file": kubeconfig(user="client-certificate: /etc/hostname, client-key: /etc/hostname"),
    "no-credentials": kubeconfig(user=""), "exec": kubeconfig(user="exec: {command: aws}"), "auth-provider": kubeconfig(user="auth-provider: {name: gcp}"),
    "basic": kubeconfig(user="username: a, password: b"), "impersonate": kubeconfig(user="token: t, as: root"),
    "null-token": kubeconfig(user="token: null"), "list-token": kubeconfig(user="token: [a]"),
    "no-cluster": kubeconfig(context="{user: u}"), "no-user": kubeconfig(context="{cluster: k}"), "other-cluster": kubeconfig(context="{cluster: x, user: u}"),
    "other-user": kubeconfig(context="{cluster: k, user: x}"), "namespace": kubeconfig(context="{cluster: k, user: u, namespace: ns}"),
    "namespace-long": kubeconfig(context="{cluster: k, user: u, namespace: " + "n" * 80 + "}"), "no-current": kubeconfig(current="''"),
    "other-current": kubeconfig(current="x"), "list-current": kubeconfig(current="[a]"), "kind": "apiVersion: v1\nkind: Pod\n", "list": "- a\n",
    "scalar": "a\n", "empty": "", "not-yaml": "a: [", "binary": "\x01\x02", "lists-wrong": "kind: Config\ncurrent-context: c\ncontexts: {}\n",
    "items-wrong": "kind: Config\ncurrent-context: c\ncontexts: [a, {x: y}, {name: c}]\n", "alias": "kind: Config\ncurrent-context: &a c\ncontexts: [*a]\n",
}


def main():
    for name, text in CONFIG.items():
        write("fuzz_config", "server-" + name, SERVER + text.encode())
    for name, text in EXPOSE.items():
        write("fuzz_config", "client-" + name, CLIENT + text.encode())
    for kind, key, texts in (("url", "server", SERVERS), ("proxy", "proxy", PROXIES)):
        for n, text in enumerate(texts):
            write("fuzz_config", f"client-{kind}-{n}", CLIENT + f'{key}: "{text}"\n'.encode())
    for n, text in enumerate(EXPOSED):
        write("fuzz_config", f"client-exposed-{n}", CLIENT + f'expose: [{{address: "{text}"}}]\n'.encode())
        write("fuzz_config", f"client-exposed-text-{n}", CLIENT + f'expose: ["{text}"]\n'.encode())
    for n, text in enumerate(NETWORKS):
        write("fuzz_config", f"server-network-{n}", SERVER + f'trusted-proxies: ["{text}"]\n'.encode())
    for n, text in enumerate(VALUES):
        write("fuzz_config", f"server-value-{n}", SERVER + text.encode() + b"\n")
        write("fuzz_config", f"client-value-{n}", CLIENT + text.encode() + b"\n")
    write("fuzz_config", "server-bad-utf8", SERVER + b"host: \xff\xfe\n")
    write("fuzz_config", "server-control", SERVER + b"host: \x01\n")
    for name, text in KUBE.items():
        write("fuzz_kubeconfig", name, text.encode("latin-1"))


if __name__ == "__main__":
    main()
