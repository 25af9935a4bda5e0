# -*- test-case-name: tests.ssh.test_tokens -*-
"""
What C{ssh -G} leaves to be filled in: the C{%} tokens of ssh_config(5), C{~} and C{${VARIABLE}}.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Tokens", "local_user"]

_TOKEN = re.compile("%(.?)", re.DOTALL)
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def local_user(environ: Mapping[str, str]) -> str:
    """@return: the name of the user who runs this."""
    return environ.get("USER") or environ.get("LOGNAME") or getpass.getuser()


class Tokens:
    """What they mean for one destination."""

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        user: str,
        alias: str,
        jump: str,
        home: Path,
        environ: Mapping[str, str],
    ) -> None:
        """
        @param name: what the user typed.
        @param alias: C{HostKeyAlias}, or C{""}.
        @param jump: C{ProxyJump}, or C{""}.
        """
        self._home = home
        self._environ = environ
        self._known_as = alias or (host if port == 22 else f"[{host}]:{port}")
        self._table = {
            "%": "%",
            "d": str(home),
            "h": host,
            "i": str(os.getuid()),
            "j": jump,
            "k": alias or name,
            "L": os.uname().nodename.split(".")[0],
            "l": os.uname().nodename,
            "n": name,
            "p": str(port),
            "r": user,
            "u": local_user(environ),
        }

    def fill(self, text: str, **more: str) -> str:
        """
        @param more: tokens that this text may have beside the usual ones.
        @return: C{text} with its tokens filled; one that is not known stays.
        """
        table = {**self._table, **more}
        return _TOKEN.sub(lambda found: table.get(found[1], found[0]), text)

    def path(self, text: str) -> Path:
        """@return: the file that C{text} means."""
        text = self._fill_variables(self.fill(text.strip('"')))
        if text == "~" or text.startswith("~/"):
            return self._home / text[2:]
        return Path(text).expanduser() if text.startswith("~") else Path(text)

    def _fill_variables(self, text: str) -> str:
        """@return: C{text} with its variables filled; one that is not set stays."""
        return _VARIABLE.sub(lambda found: self._environ.get(found[1], found[0]), text)

    def agent(self, text: str) -> str:
        """@return: the agent's socket: C{SSH_AUTH_SOCK}, C{$VARIABLE}, a path, or nothing for C{none}."""
        text = text.strip('"')
        if text == "none":
            return ""
        if text == "SSH_AUTH_SOCK" or not text:
            return self._environ.get("SSH_AUTH_SOCK", "")
        if text.startswith("$"):
            return self._environ.get(text[1:].strip("{}"), "")
        return str(self.path(text))

    def known_hosts_command(self, text: str) -> tuple[str, ...]:
        """
        C{KnownHostsCommand}, which is run without a shell, and here before the host has shown its key.

        @return: its words, or none.
        @raise ValueError: it cannot be run, with the reason.
        """
        program, *arguments = shlex.split(text) or [""]
        if program and not os.path.isabs(program):
            raise ValueError(f"KnownHostsCommand must have an absolute path, unlike {program}")
        if any(found[1] in "fKt" for word in arguments for found in _TOKEN.finditer(word) if found[1]):
            raise ValueError(
                "KnownHostsCommand has the token %f, %K or %t: commands that are told the host's key are not "
                "supported"
            )
        filled = (self.fill(word, H=self._known_as, I="HOSTNAME") for word in arguments)
        return (program, *map(self._fill_variables, filled)) if program else ()
