"""Whose files a bind source means, in tables."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._placement import REMOTE_PREFIXES, Meaning, laptop_path, meaning, place_of

DAEMON, REMOTE, LAPTOP = Meaning.DAEMON, Meaning.REMOTE, Meaning.LAPTOP


class MeaningTests(SynchronousTestCase):
    """L{meaning}."""

    def test_table(self) -> None:
        """By the name alone."""
        table = [
            ("/home/me/src", LAPTOP),
            ("/", REMOTE),
            ("/var/run/docker.sock", DAEMON),
            ("/run/docker.sock", DAEMON),
            ("/Users/me/.docker/run/docker.sock", DAEMON),
            ("/Users/me/.docker/desktop/docker.sock", DAEMON),
            ("/Users/me/.colima/default/docker.sock", DAEMON),
            ("/Users/me/.rd/docker.sock", DAEMON),
            ("/run/user/1000/docker.sock", DAEMON),
            ("/run/user/1000/other.sock", REMOTE),
            ("/home/me/docker.sock", LAPTOP),
            ("/run", REMOTE),
            ("/runner", LAPTOP),
            ("/var/run/postgresql", REMOTE),
            ("/proc", REMOTE),
            ("/proc/1/ns", REMOTE),
            ("/processes", LAPTOP),
            ("/sys/fs/cgroup", REMOTE),
            ("/dev/snd", REMOTE),
            ("/developer", LAPTOP),
            ("/lib/modules", REMOTE),
            ("/lib", LAPTOP),
            ("/etc/localtime", REMOTE),
            ("/etc/timezone", REMOTE),
            ("/etc", LAPTOP),
            ("/tmp/.X11-unix", REMOTE),
            ("/tmp/x", LAPTOP),
            ("/var/lib/docker/volumes/v/_data", REMOTE),
            ("/var/lib/dockerized", LAPTOP),
        ]
        for path, expected in table:
            self.assertIs(meaning(path), expected, path)

    def test_every_prefix(self) -> None:
        """Each name of the list means the remote's own, with what is under it; its neighbours do not."""
        for prefix in REMOTE_PREFIXES:
            self.assertIs(meaning(prefix), REMOTE)
            self.assertIs(meaning(f"{prefix}/x"), REMOTE)
            self.assertIs(meaning(f"{prefix}x"), LAPTOP)

    def test_own_prefixes(self) -> None:
        """The user may name more, in any spelling."""
        for prefix in ("/data", "/data/", "//data", "/x/../data", "/data/."):
            self.assertIs(meaning("/data/set", [prefix]), REMOTE, prefix)
            self.assertIs(meaning("/database", [prefix]), LAPTOP, prefix)
        self.assertIs(meaning("/anything", ["/"]), REMOTE)

    def test_own_socket(self) -> None:
        """Where this agent listens, the remote daemon is meant."""
        sockets = ["/home/me/.remotedocker/./docker.sock"]
        self.assertIs(meaning("/home/me/.remotedocker/docker.sock", (), sockets), DAEMON)
        self.assertIs(meaning("/home/me/.remotedocker", (), sockets), LAPTOP)


class PlaceTests(SynchronousTestCase):
    """L{place_of} and L{laptop_path}."""

    def test_table(self) -> None:
        """Each laptop's path has one place, and back."""
        table = [
            ("/home/me/src", "/home/me/src", False),
            ("/", "/", False),
            ("C:\\src", "/c/src", True),
            ("c:\\src\\a b", "/c/src/a b", True),
            ("C:/src", "/c/src", True),
            ("C:\\", "/c", True),
            ("D:", "/d", True),
        ]
        for path, place, windows in table:
            self.assertEqual(place_of(path), place, path)
            back = laptop_path(place, windows)
            self.assertEqual(place_of(back), place, path)
            if not windows:
                self.assertEqual(back, path)
        self.assertEqual(laptop_path("/c/src/a b", True), "C:\\src\\a b")
        self.assertEqual(laptop_path("/c", True), "C:\\")
