# -*- test-case-name: tests.proxy.test_protocol -*-
"""
The Docker API between local clients and the remote daemon: what is asked and answered is passed, refused,
held or rewritten.
"""

from __future__ import annotations

from remotedocker.proxy._address import ListenAddress
from remotedocker.proxy._dump import Dump, open_dump
from remotedocker.proxy._factory import ProxyFactory, ProxyOptions
from remotedocker.proxy._listen import Endpoints

__all__ = ["Dump", "Endpoints", "ListenAddress", "ProxyFactory", "ProxyOptions", "open_dump"]
