"""What the user may type for C{--ssh} and C{--remote-docker}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.ssh import Destination, parse_destination
from remotedocker.ssh._destination import DockerAddress, parse_docker_url

_GOOD = {
    "host": (None, "host", None),
    "  host ": (None, "host", None),
    "user@host": ("user", "host", None),
    "user@host:2222": ("user", "host", 2222),
    "host:22": (None, "host", 22),
    "ssh://host": (None, "host", None),
    "ssh://user@host:2222": ("user", "host", 2222),
    "SSH://user@host/": ("user", "host", None),
    "ssh://a%40b@host": ("a@b", "host", None),
    "first@second@host": ("first@second", "host", None),
    "DOMAIN\\user@host": ("DOMAIN\\user", "host", None),
    "::1": (None, "::1", None),
    "[::1]": (None, "::1", None),
    "[::1]:22": (None, "::1", 22),
    "user@[fe80::1%eth0]:2222": ("user", "fe80::1%eth0", 2222),
    "ssh://user@[2001:db8::1]:2222": ("user", "2001:db8::1", 2222),
    "my_alias.example": (None, "my_alias.example", None),
}
_BAD = {
    "": "no host",
    "user@": "no host",
    "@host": "user before @ is empty",
    "host:": "the port ''",
    "host:abc": "the port 'abc'",
    "host:0": "1 to 65535",
    "host:65536": "1 to 65535",
    "host:²": "1 to 65535",
    "[::1": "never closed",
    "[::1]x": "behind the bracket",
    "http://host": "scheme must be ssh://",
    "ssh://host/path": "no path",
    "ssh://user:secret@host": "password",
    "-oProxyCommand=x": "cannot be in a host name",
    "host name": "cannot be in a host name",
    "host;id": "cannot be in a host name",
    "$(id)@host": "cannot be in a login name",
    "-l@host": "cannot be in a login name",
}


class ParseDestinationTests(SynchronousTestCase):
    """L{parse_destination}."""

    def test_good(self) -> None:
        """Every form is read into its parts."""
        for text, (user, host, port) in _GOOD.items():
            self.assertEqual(parse_destination(text), Destination(user, host, port), text)

    def test_bad(self) -> None:
        """What is none is refused, and the reason and the text are named."""
        for text, reason in _BAD.items():
            error = self.assertRaises(ValueError, parse_destination, text)
            self.assertIn(reason, str(error), text)
            self.assertIn(repr(text), str(error))

    def test_printed(self) -> None:
        """A destination prints as it would be typed."""
        for text in ("host", "user@host", "user@host:2222", "user@[::1]:2222", "::1"):
            self.assertEqual(str(parse_destination(text)), text)


class ParseDockerURLTests(SynchronousTestCase):
    """L{parse_docker_url}."""

    def test_good(self) -> None:
        """Sockets and TCP daemons."""
        for url, address, printed in (
            ("unix:///var/run/docker.sock", DockerAddress("/var/run/docker.sock"), "/var/run/docker.sock"),
            (
                "unix:///run/user/1000/a%20b.sock",
                DockerAddress("/run/user/1000/a b.sock"),
                "/run/user/1000/a b.sock",
            ),
            ("tcp://127.0.0.1:2375", DockerAddress(None, "127.0.0.1", 2375), "127.0.0.1:2375"),
            ("tcp://[::1]:2376/", DockerAddress(None, "::1", 2376), "[::1]:2376"),
            ("tcp://localhost", DockerAddress(None, "localhost", 2375), "localhost:2375"),
        ):
            self.assertEqual(parse_docker_url(url), address)
            self.assertEqual(str(address), printed)

    def test_bad(self) -> None:
        """Anything else is refused, with an example of what is right."""
        for url in ("", "/var/run/docker.sock", "http://x", "tcp://", "tcp://h:99999", "tcp://h:1/p"):
            error = self.assertRaises(ValueError, parse_docker_url, url)
            self.assertIn(repr(url), str(error))
