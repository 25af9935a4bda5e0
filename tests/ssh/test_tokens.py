"""What C{ssh -G} leaves to be filled in."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.ssh._tokens import Tokens, local_user


class TokensTests(SynchronousTestCase):
    """L{Tokens}."""

    def tokens(self, alias: str = "", port: int = 22) -> Tokens:
        """@return: those of one destination."""
        environ = {"USER": "local", "KEYS": "/keys", "SSH_AUTH_SOCK": "/agent"}
        return Tokens("typed", "real.example", port, "me", alias, "jump", Path("/home/me"), environ)

    def test_fill(self) -> None:
        """Each token has its meaning; one that is not known stays, and so does a sign at the end."""
        node = os.uname().nodename
        filled = self.tokens(port=2222).fill("%h %n %p %r %u %d %j %k %L %l %i %% %z %")
        names = f"{node.split('.')[0]} {node}"
        self.assertEqual(
            filled,
            f"real.example typed 2222 me local /home/me jump typed {names} {os.getuid()} % %z %",
        )
        self.assertEqual(self.tokens("nick").fill("%k"), "nick")

    def test_path(self) -> None:
        """A path may begin in the home, and have tokens and variables; one that is not set stays."""
        tokens = self.tokens()
        self.assertEqual(tokens.path('"~/.ssh/%h key"'), Path("/home/me/.ssh/real.example key"))
        self.assertEqual(tokens.path("${KEYS}/%r"), Path("/keys/me"))
        self.assertEqual(tokens.path("${OTHER}/%r"), Path("${OTHER}/me"))

    def test_known_hosts_command(self) -> None:
        """It is split before anything is filled in, and told the name by which the host is known."""
        for alias, port, known_as in (("", 22, "real.example"), ("", 7, "[real.example]:7"), ("n", 7, "n")):
            words = self.tokens(alias, port).known_hosts_command('/bin/ask "a b" ${KEYS} %H-%I %h')
            expected = ("/bin/ask", "a b", "/keys", f"{known_as}-HOSTNAME", "real.example")
            self.assertEqual(words, expected)
        self.assertEqual(self.tokens().known_hosts_command(""), ())
        self.assertEqual(self.tokens().known_hosts_command("/bin/ask %%K"), ("/bin/ask", "%K"))

    def test_refused_known_hosts_command(self) -> None:
        """What ssh would not run is refused, and what needs the host's key is."""
        for command, words in (
            ("ask %H", "an absolute path, unlike ask"),
            ("/bin/ask %K", "%f, %K or %t"),
            ("/bin/ask type=%t", "%f, %K or %t"),
            ('/bin/ask "', "quot"),
        ):
            error = self.assertRaises(ValueError, self.tokens().known_hosts_command, command)
            self.assertIn(words, str(error))

    def test_local_user(self) -> None:
        """The user is whom the environment names, or whom the system does."""
        self.assertEqual(local_user({"USER": "one", "LOGNAME": "two"}), "one")
        self.assertEqual(local_user({"LOGNAME": "two"}), "two")
        self.assertTrue(local_user({}))
