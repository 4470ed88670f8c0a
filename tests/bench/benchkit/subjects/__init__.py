# SPDX-License-Identifier: Apache-2.0
"""All subjects, in the order in which tables show them."""

from .base import Kit, Subject
from .chisel import Chisel
from .frp import Frp
from .rathole import RatholeNoise, RatholeTls
from .relays import Direct, Haproxy, HaproxyAgain, HaproxyThreads, NginxStream, Stunnel
from .ssh import Ssh
from .wormhole import WormholeWs, WormholeWss
from .wstunnel import Wstunnel

ALL = [WormholeWs, WormholeWss, Direct, Haproxy, HaproxyAgain, HaproxyThreads, NginxStream, Ssh, Stunnel,
       Chisel, Frp, RatholeNoise, RatholeTls, Wstunnel]
BY_NAME = {subject.name: subject for subject in ALL}
YARDSTICK, CONTROL = Haproxy.name, HaproxyAgain.name

__all__ = ["ALL", "BY_NAME", "CONTROL", "Kit", "Subject", "YARDSTICK"]
