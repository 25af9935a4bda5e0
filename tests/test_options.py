"""The command line."""

from __future__ import annotations

from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.options import Options, default_listen_addresses, default_state_directory, parse_size


def parsed(*arguments: str) -> Options:
    """@return: the options of a command line."""
    options = Options()
    options.parseOptions(list(arguments))
    return options


class SizeTests(SynchronousTestCase):
    """L{parse_size}."""

    def test_units(self) -> None:
        """Units are powers of 1024, in any case, with or without i and B."""
        for text, expected in [
            ("0", 0),
            ("17", 17),
            ("1k", 1024),
            ("512MiB", 512 * 2**20),
            ("4GiB", 4 * 2**30),
            ("4gb", 4 * 2**30),
            ("1.5 G", 3 * 2**29),
            ("2T", 2**41),
        ]:
            self.assertEqual(parse_size(text), expected, text)

    def test_refused(self) -> None:
        """What is no size is refused, and the value is named."""
        for text in ["", "-1", "4XB", "GiB", "1e9", "4 Gi B x"]:
            error = self.assertRaises(ValueError, parse_size, text)
            self.assertIn(repr(text), str(error))


class OptionsTests(SynchronousTestCase):
    """L{Options}."""

    def test_defaults(self) -> None:
        """With a destination alone, everything has the documented default."""
        options = parsed("--ssh", "root@host")
        self.assertEqual(options["ssh"], "root@host")
        self.assertEqual(options["remote-docker"], "unix:///var/run/docker.sock")
        self.assertEqual(options["publish-address"], ["127.0.0.1", "::1"])
        self.assertEqual(options["max-tree-size"], 4 * 2**30)
        self.assertEqual(options["max-tree-files"], 500_000)
        self.assertEqual(options["sync"], "two-way")
        self.assertEqual(options["wait-for-ssh"], 10.0)
        self.assertEqual(options["connections"], 2)
        self.assertEqual(options["listen"][0], "127.0.0.1:23750")
        self.assertIsInstance(options["state-dir"], Path)
        for flag in ("accept-new-host-key", "gitignore", "no-forward", "forward-all", "http-only"):
            self.assertFalse(options[flag], flag)

    def test_short_forms(self) -> None:
        """The one-letter options mean the same as the long ones."""
        options = parsed("-s", "h", "-l", "unix:/s", "-i", "/k", "-F", "/c", "-r", "tcp://127.0.0.1:2375")
        self.assertEqual(options["listen"], ["unix:/s"])
        self.assertEqual(options.paths("identity"), (Path("/k"),))
        self.assertEqual(options["ssh-config"], "/c")
        self.assertEqual(options["remote-docker"], "tcp://127.0.0.1:2375")

    def test_repeatable(self) -> None:
        """Repeatable options gather their values in order."""
        options = parsed(
            "--ssh=h", "--listen=127.0.0.1:1", "--listen=unix:/s", "--ignore=*.o", "--ignore=build/",
            "--remote-path=/data", "--remote-path=/mnt", "--publish-address=127.0.0.2",
            "--known-hosts=/a", "--known-hosts=~/b",
        )  # fmt: skip
        self.assertEqual(options["listen"], ["127.0.0.1:1", "unix:/s"])
        self.assertEqual(options["ignore"], ["*.o", "build/"])
        self.assertEqual(options["remote-path"], ["/data", "/mnt"])
        self.assertEqual(options["publish-address"], ["127.0.0.2"])
        self.assertEqual(options.paths("known-hosts"), (Path("/a"), Path("~/b").expanduser()))

    def test_destination_is_required(self) -> None:
        """Without a destination the error names the option and an example."""
        error = self.assertRaises(UsageError, parsed)
        self.assertIn("--ssh root@host", str(error))

    def test_refused_values(self) -> None:
        """A value that cannot be used is refused, with the option and the value named."""
        for option, value in [
            ("--max-tree-size", "huge"),
            ("--max-tree-files", "0"),
            ("--sync", "both"),
            ("--wait-for-ssh", "nan"),
            ("--wait-for-ssh", "-1"),
            ("--connections", "1.5"),
            ("--remote-path", "data"),
        ]:
            error = self.assertRaises(UsageError, parsed, "--ssh=h", option, value)
            self.assertIn(option, str(error))
            self.assertIn(repr(value), str(error))

    def test_contradiction(self) -> None:
        """Opening no port and opening everybody's ports exclude each other."""
        self.assertRaises(UsageError, parsed, "--ssh=h", "--no-forward", "--forward-all")


class EnvironmentTests(SynchronousTestCase):
    """Defaults that depend on the environment."""

    def test_listen(self) -> None:
        """The unix socket is listened on only where there is a runtime directory."""
        self.assertEqual(default_listen_addresses({}), ["127.0.0.1:23750"])
        self.assertEqual(
            default_listen_addresses({"XDG_RUNTIME_DIR": "/run/user/7"}),
            ["127.0.0.1:23750", "unix:/run/user/7/remotedocker/docker.sock"],
        )

    def test_state(self) -> None:
        """The state directory follows XDG_STATE_HOME."""
        self.assertEqual(default_state_directory({"XDG_STATE_HOME": "/s"}), Path("/s/remotedocker"))
        self.assertEqual(default_state_directory({}), Path("~/.local/state/remotedocker").expanduser())
