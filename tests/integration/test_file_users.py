"""
Mounted files where the users differ: the agent's on the laptop, the SSH user on the remote, the container's.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from tests.integration.agent import OtherUsersAgent
from tests.integration.checks import check_files, check_files_come_back
from tests.integration.test_files import DIGEST, FilesTestCase, digest

_WAIT = 30.0


def _owner(path: Path) -> tuple[int, int]:
    """Who owns a file, by number."""
    status = path.lstat()
    return status.st_uid, status.st_gid


class OtherUsersAgentTests(FilesTestCase):
    """An agent that is not root on the laptop: it can read and write what its user can."""

    def setUp(self) -> None:
        """The directory is where that user can reach it, and its own."""
        super().setUp()
        place = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="remotedocker-user-"))
        self.addCleanup(shutil.rmtree, place)
        place.chmod(0o755)
        self.own = OtherUsersAgent(self.remote, place / "agent")
        self.addCleanup(self._report, self.own, 0)
        self.addCleanup(self.own.kill)
        self.own.start()
        self.cli = self.docker(self.own.docker_host)
        self.tree = place / "tree"
        self.tree.mkdir()
        self.user = (self.own.user.pw_uid, self.own.user.pw_gid)
        os.chown(self.tree, *self.user)

    def create(self) -> list[str]:
        """@return: the warnings of a create."""
        created = self.cli("create", "-v", f"{self.tree}:/x", "busybox", "true")
        self.assertEqual(created.status, 0, created)
        self.addCleanup(self.remote.docker, "rm", created.stdout.decode().strip())
        return sorted(created.stderr.decode().splitlines())

    def test_unreadable(self) -> None:
        """
        What that user may not read is passed over and reported, once; nothing is deleted for that, and when
        it may be read it follows.
        """
        (self.tree / "secret").write_text("root's own\n")
        (self.tree / "secret").chmod(0o600)
        (self.tree / "closed").mkdir(mode=0o700)
        (self.tree / "closed" / "inside").write_text("closed\n")
        (self.tree / "file").write_text("there\n")
        self.assertEqual(
            self.create(),
            [
                f"WARNING: {self.tree}/{name} is not synced: Permission denied"
                for name in ("closed", "secret")
            ],
        )
        self.assertEqual(self.create(), [])
        self.assertEqual(self.run_in("find . -type f; echo made > made"), b"./file\n")
        self.assertEqual((self.tree / "made").read_text(), "made\n")
        self.assertEqual((self.tree / "secret").read_text(), "root's own\n")
        self.assertEqual((self.tree / "closed" / "inside").read_text(), "closed\n")
        (self.tree / "secret").chmod(0o644)
        (self.tree / "closed").chmod(0o755)
        self.assertEqual(self.run_in("cat secret closed/inside"), b"root's own\nclosed\n")
        (self.tree / "secret").chmod(0o600)
        (self.tree / "closed").chmod(0o700)
        self.assertEqual(self.run_in("cat secret closed/inside"), b"root's own\nclosed\n")

    def test_owner_of_what_comes_back(self) -> None:
        """Files that come back belong to that user, whoever owned them there, without setuid."""
        (self.tree / "edited").write_text("one\n")
        os.chown(self.tree / "edited", *self.user)
        self.assertEqual(self.run_in("stat -c %u:%g edited"), b"%d:%d\n" % self.user)
        self.run_in(
            "echo two > edited; mkdir -m 750 d; cp /bin/busybox d/setuid; chmod 6755 d/setuid;"
            " echo x > other; chown 1234:2345 other edited; ln -s other link; chmod 640 other"
        )
        self.assertEqual((self.tree / "edited").read_text(), "two\n")
        for name, mode in (
            ("edited", 0o644),
            ("d", 0o750),
            ("d/setuid", 0o755),
            ("other", 0o640),
            ("link", None),
        ):
            path = self.tree / name
            self.assertEqual(_owner(path), self.user, name)
            if mode is not None:
                self.assertEqual(stat.S_IMODE(path.lstat().st_mode), mode, name)


class OtherSSHUserTests(FilesTestCase):
    """An SSH user who is not root on the remote, but may use the daemon."""

    def setUp(self) -> None:
        """An agent that logs in as that user."""
        super().setUp()
        self.agent = self.shared_agent("--ssh", f"developer@{self.remote.host}")
        self.cli = self.docker(self.agent.docker_host)

    def test_owner(self) -> None:
        """Files there belong to that user, whatever they are here, and all the rest is as it is here."""
        (self.tree / "file").write_text("x")
        (self.tree / "file").chmod(0o640)
        (self.tree / "d").mkdir()
        (self.tree / "d" / "program").write_text("x")
        (self.tree / "d" / "program").chmod(0o751)
        os.chown(self.tree / "file", 1234, 2345)
        user = b"4213:4213\n"
        self.assertEqual(self.run_in("stat -c %u:%g . file d d/program"), user * 4)
        self.assertEqual(self.run_in(DIGEST), digest(self.tree))
        self.assertEqual(_owner(self.tree / "file"), (1234, 2345))

    def test_comes_back(self) -> None:
        """
        What the container writes as root comes back; changed here, it follows. In a directory that it made
        the SSH user can change nothing: the next start says so.
        """
        (self.tree / "edited").write_text("one\n")
        name = self.begin()
        self.inside(name, "echo two >> edited; mkdir d; echo x > d/made; echo y > made")
        self.assertEqual((self.tree / "edited").read_text(), "one\ntwo\n")
        self.assertEqual((self.tree / "d" / "made").read_text(), "x\n")
        (self.tree / "edited").write_text("three\n")
        self.until_inside(name, "cat edited", b"three\n")
        (self.tree / "made").write_text("changed here\n")
        (self.tree / "made").chmod(0o600)
        self.until_inside(name, "cat made; stat -c %a made", b"changed here\n600\n")
        self.assertEqual(self.cli("restart", "-t", "0", name).status, 0)
        (self.tree / "d" / "new").write_text("changed here\n")
        refused = self.cli("restart", "-t", "0", name)
        self.assertNotEqual(refused.status, 0)
        self.assertIn(b"permission denied", refused.stderr)


class SFTPAloneTests(FilesTestCase):
    """An SSH user who is given SFTP and forwarding, and no shell."""

    def setUp(self) -> None:
        """A second sshd, for such a user, and an agent that logs in there."""
        super().setUp()
        port = 2222
        known_hosts = self.scratch / "known_hosts"
        known_hosts.write_text(
            self.remote.known_hosts.read_text().replace(
                f"{self.remote.host} ", f"[{self.remote.host}]:{port} "
            )
        )
        self.remote.start_second_sshd(port, "ForceCommand internal-sftp")
        self.addCleanup(self.remote.stop_second_sshd)
        self.agent = self.own_agent("--ssh", f"developer@{self.remote.host}:{port}", start=False)
        self.agent.known_hosts = known_hosts
        self.agent.start()
        self.cli = self.docker(self.agent.docker_host)

    def test_both_ways(self) -> None:
        """Mounted files are complete before the start, edits follow, and what is written comes back."""
        check_files(self.cli, self.scratch / "there")
        check_files_come_back(self.cli, self.scratch / "back")
        self.assertIn("files go by SFTP", self.agent.log_file.read_text())
        (self.tree / "edited").write_text("one\n")
        name = self.begin()
        self.inside(name, "echo two >> edited; mkdir d; echo x > d/made")
        self.assertEqual((self.tree / "edited").read_text(), "one\ntwo\n")
        self.assertEqual((self.tree / "d" / "made").read_text(), "x\n")
        (self.tree / "edited").write_text("three, and longer\n")
        self.until_inside(name, "cat edited", b"three, and longer\n")
