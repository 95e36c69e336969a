"""The lab: real systemd hosts on one machine, and a model small enough to serve there.

A lab host is a Debian (or Ubuntu) system with systemd as its first process, an SSH server, a static address and a
user with sudo: what an operator's own host looks like to Slipway. Nothing outside this package knows of it.
"""

from tools.lab.apt import RELEASES
from tools.lab.errors import LabError
from tools.lab.hosts import Host, HostSpec, HostStatus
from tools.lab.lab import Lab
from tools.lab.network import SUBNET
from tools.lab.places import Places

__all__ = ["RELEASES", "SUBNET", "Host", "HostSpec", "HostStatus", "Lab", "LabError", "Places"]
