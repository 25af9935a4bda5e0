# -*- test-case-name: tests.integration -*-
"""
A real dockerd behind its unix socket, for L{tests.contracts.daemon.DaemonContract}.
"""

from __future__ import annotations

import http.client
import io
import json
import shutil
import socket
import tarfile
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint

from remotedocker.daemon import DaemonClient
from tests.fakes.fake_remote import FakeRemote

__all__ = ["EngineFixture"]

_IMAGE = "remotedocker-contract"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP to a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=60)
        self._path = path

    def connect(self) -> None:
        """Connects."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class EngineFixture:
    """
    See L{tests.contracts.daemon.DaemonFixture}. Its remote's channels are connections to the socket.
    """

    image = _IMAGE

    def __init__(self, path: str) -> None:
        """
        @param path: the daemon's socket, as seen from here.
        """
        self._path = path
        self._made: list[str] = []
        self._volumes: list[str] = []
        self.remote = FakeRemote(lambda name: UNIXClientEndpoint(reactor, path))
        self.client = DaemonClient(reactor, self.remote, path)
        self.log_in = self.remote.log_in
        self.log_out = self.remote.log_out

    def import_image(self) -> None:
        """Makes L{image} of the machine's static busybox; needs no registry."""
        program = shutil.which("busybox")
        assert program is not None, "busybox-static is not installed"
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(program, "bin/busybox")
        changes = ["EXPOSE 80/tcp 53/udp", 'CMD ["/bin/busybox", "sleep", "600"]']
        query = urlencode({"fromSrc": "-", "repo": _IMAGE, "changes": changes}, doseq=True)
        self._ask("POST", f"/images/create?{query}", archive.getvalue())

    def clean_up(self) -> None:
        """Removes what was made."""
        for container_id in self._made:
            # The test may have removed it by the client.
            self._ask("DELETE", f"/containers/{container_id}?force=1&v=1", missing_ok=True)
        self._made.clear()
        for name in self._volumes:
            self._ask("DELETE", f"/volumes/{name}", missing_ok=True)
        self._volumes.clear()

    def create(self, name: str, labels: Mapping[str, str]) -> str:
        """See L{tests.contracts.daemon.DaemonFixture.create}."""
        body = {
            "Image": self.image,
            "Labels": dict(labels),
            "HostConfig": {"NetworkMode": "none"},
        }
        container_id: str = self._ask("POST", f"/containers/create?name={name}", body)["Id"]
        self._made.append(container_id)
        return container_id

    def start(self, container_id: str) -> None:
        """See L{tests.contracts.daemon.DaemonFixture.start}."""
        self._ask("POST", f"/containers/{container_id}/start")

    def kill(self, container_id: str) -> None:
        """See L{tests.contracts.daemon.DaemonFixture.kill}."""
        self._ask("POST", f"/containers/{container_id}/kill")
        self._ask("POST", f"/containers/{container_id}/wait")

    def remove(self, container_id: str) -> None:
        """See L{tests.contracts.daemon.DaemonFixture.remove}."""
        self._ask("DELETE", f"/containers/{container_id}")
        self._made.remove(container_id)

    def create_volume(self, name: str, options: dict[str, str]) -> None:
        """See L{tests.contracts.daemon.DaemonFixture.create_volume}."""
        self._volumes.append(name)
        self._ask("POST", "/volumes/create", {"Name": name, "Driver": "local", "DriverOpts": options})

    def remove_volume(self, name: str) -> None:
        """See L{tests.contracts.daemon.DaemonFixture.remove_volume}."""
        self._ask("DELETE", f"/volumes/{name}")

    def _ask(
        self, method: str, target: str, body: dict[str, Any] | bytes = b"", missing_ok: bool = False
    ) -> Any:
        connection = _UnixConnection(self._path)
        try:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, target, raw, {"Content-Type": "application/json"} if raw else {})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if missing_ok and response.status == 404:
            return None
        assert response.status < 300, (method, target, response.status, content)
        try:
            return json.loads(content)
        except ValueError:
            return None
