"""Dropbear instead of OpenSSH: other algorithms, no forwarding to sockets."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import connectProtocol
from twisted.trial.unittest import SkipTest, TestCase

from remotedocker.interfaces import FileAttributes
from remotedocker.ssh import Remote, SSHConfiguration
from tests.support import Recorder, wait_until
from tests.support.docker_socket import EchoDaemon
from tests.support.openssh import find_program
from tests.support.sshd import free_port, make_key


class DropbearTests(TestCase):
    """L{Remote}, logged in to Dropbear."""

    async def setUp(self) -> None:
        """
        Dropbear knows no other place for accepted keys than the user's home, so that it runs where another
        directory is mounted over that.
        """
        dropbear = find_program("dropbear")
        if os.geteuid() != 0 or dropbear is None or not all(map(find_program, ("unshare", "mount"))):
            raise SkipTest("needs root, dropbear-bin and util-linux")
        directory = Path(tempfile.mkdtemp(prefix="remotedocker-dropbear-"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        home = directory / "home"
        (home / ".ssh").mkdir(mode=0o700, parents=True)
        home.chmod(0o700)
        identity = make_key(directory / "identity")
        shutil.copy(f"{identity}.pub", home / ".ssh" / "authorized_keys")
        self.directory = directory
        host_key = directory / "host_key"
        subprocess.run(["dropbearkey", "-t", "ed25519", "-f", str(host_key)], check=True, capture_output=True)
        port = free_port()
        script = f"mount --bind {home} /root && exec {dropbear} -F -E -r {host_key} -p 127.0.0.1:{port}"
        with (directory / "log").open("wb") as log:
            server = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", script], stderr=log, stdin=subprocess.DEVNULL
            )
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        self.daemon = EchoDaemon()
        socket = str(directory / "docker.sock")
        listening: Any = await self.daemon.listen(reactor, socket)
        self.addCleanup(listening.stopListening)
        self.remote = Remote(
            reactor,
            SSHConfiguration(
                f"root@127.0.0.1:{port}",
                identities=(identity,),
                known_hosts=(directory / "known_hosts",),
                accept_new_host_key=True,
                remote_docker=f"unix://{socket}",
                wait_for_ssh=20.0,
            ),
            {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(directory), "USER": "root"},
        )
        self.addCleanup(self.remote.stop)
        self.remote.start()
        await self.remote.when_connected()

    async def test_everything(self) -> None:
        """Commands, ports, the daemon and, if there is an SFTP server, files."""
        result = await self.remote.run("cat", b"x" * 1_000_000)
        self.assertEqual(len(result.stdout), 1_000_000)
        protocol = Recorder()
        await connectProtocol(self.remote.docker_endpoint(), protocol)
        content = os.urandom(1_000_000)
        protocol.transport.write(content)
        await wait_until(reactor, lambda: len(protocol.received) == len(content))
        self.assertTrue(protocol.received == content)
        files = await self.remote.filesystem()
        path = os.fsencode(self.directory) + b"/file"
        self.assertEqual(await files.write_file(path, [content], FileAttributes()), len(content))
        protocol.transport.loseConnection()
        await wait_until(reactor, lambda: protocol.lost and not self.daemon.conversations)
