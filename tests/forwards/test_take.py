# -*- test-case-name: tests.forwards.test_take -*-
"""
One number on several addresses, where the system is a table.
"""

from __future__ import annotations

import errno
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.errors import AddressUnavailable, PortForbidden, RemoteDockerError
from remotedocker.forwards import _take as take_module
from remotedocker.forwards._plan import Host, LocalAddress
from remotedocker.forwards._take import NumberRefused, NumberTaken, take_number

__all__ = ["TakeTests"]

HOSTS = (Host("127.0.0.1"), Host("::1", optional=True))


class TakeTests(SynchronousTestCase):
    """
    @ivar errors: what the system says, by address.
    @ivar given_back: what was given back.
    """

    def setUp(self) -> None:
        """A system that refuses nothing."""
        self.errors: dict[str, int] = {}
        self.given_back: list[str] = []

    def make(self, address: LocalAddress) -> str:
        """Takes an address."""
        if address.host in self.errors:
            raise OSError(self.errors[address.host], "refused")
        return str(address)

    def take(self) -> tuple[str, ...]:
        """Takes port 80 on both addresses."""
        return take_number(self.make, self.given_back.append, HOSTS, 80, "tcp")

    def test_all(self) -> None:
        """It is taken on each address, in order."""
        self.assertEqual(self.take(), ("127.0.0.1:80", "[::1]:80"))

    def test_optional(self) -> None:
        """An optional address that this machine lacks is passed over."""
        for number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            self.errors["::1"] = number
            self.assertEqual(self.take(), ("127.0.0.1:80",))

    def test_optional_but_taken(self) -> None:
        """An optional address on which the number is taken is an obstacle; nothing is kept."""
        self.errors["::1"] = errno.EADDRINUSE
        with self.assertRaises(NumberTaken) as raised:
            self.take()
        self.assertEqual(raised.exception.address, "[::1]:80")
        self.assertEqual(self.given_back, ["127.0.0.1:80"])

    def refused(self, number: int) -> RemoteDockerError:
        """@return: what the user is told when the first address is refused so."""
        self.errors["127.0.0.1"] = number
        with self.assertRaises(NumberRefused) as raised:
            self.take()
        return raised.exception.for_container("web", "one")

    def test_reasons(self) -> None:
        """Each reason has its error."""
        for number, kind in {
            errno.EADDRNOTAVAIL: AddressUnavailable,
            errno.EACCES: PortForbidden,
            errno.EPERM: PortForbidden,
            errno.ENOBUFS: RemoteDockerError,
        }.items():
            self.assertIs(type(self.refused(number)), kind)

    def test_limit(self) -> None:
        """The limit for privileged ports is the system's, or the usual one where it says nothing."""
        limits = Path(self.mktemp())
        self.patch(take_module, "_UNPRIVILEGED_START", limits)
        self.assertIn("ports under 1024;", self.refused(errno.EACCES).message)
        limits.write_text("80\n")
        self.assertIn("ports under 80;", self.refused(errno.EACCES).message)
