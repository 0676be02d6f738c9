#!/usr/bin/env python3
"""Start $CHROMIUM without notifications of network changes, which other tests cause.

Chromium gives up what it is loading, with ERR_NETWORK_CHANGED, whenever an interface gets or loses
an address, and Docker's bridges do so while another stack starts or stops. It has no option against
that (https://issues.chromium.org/issues/41465264), but goes on without when it may open no netlink
socket. Its requests are not changed by this.
"""

import errno
import os
import socket
import sys

import pyseccomp

rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
refuse = pyseccomp.ERRNO(errno.EPERM)
rules.add_rule(refuse, "socket", pyseccomp.Arg(0, pyseccomp.EQ, socket.AF_NETLINK))
rules.load()
chromium = os.environ["CHROMIUM"]
os.execv(chromium, [chromium, *sys.argv[1:]])
