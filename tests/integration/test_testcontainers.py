"""
Testcontainers for Python on a real remote, with its reaper on.

The reaper's image is made here, for none can be pulled: it speaks Ryuk's protocol (a line of filters,
answered by C{ACK}; the connection then stays open), if it has a daemon's socket to reap with.
"""

from __future__ import annotations

import json
import socket
import sys

from tests.integration.base import Running
from tests.integration.ports import PortsTestCase, published

__all__ = ["TestcontainersTests"]

_REAPER = r"""
cat >/answer <<'EOF'
#!/bin/sh
read -r filters
[ -S /var/run/docker.sock ] && echo ACK
exec cat >/dev/null
EOF
chmod +x /answer
echo Ryuk Started!
exec nc -ll -p 8080 -e /answer
"""

_PROGRAM = """
import json, time, urllib.request
from testcontainers.core.container import DockerContainer, Reaper

def fetch(container):
    url = "http://%s:%s/" % (container.get_container_host_ip(), container.get_exposed_port(80))
    for _ in range(100):
        try:
            return urllib.request.urlopen(url, timeout=10).read().decode()
        except OSError:
            time.sleep(0.1)

command = ["sh", "-c", "mkdir /www; echo hello >/www/index.html; exec httpd -f -p 80 -h /www"]
with DockerContainer("busybox").with_command(command).with_exposed_ports(80) as container:
    print(json.dumps({
        "page": fetch(container),
        "port": int(container.get_exposed_port(80)),
        "container": container.get_wrapped_container().id,
        "reaper": Reaper._container.get_wrapped_container().id,
    }), flush=True)
    input()
"""


class TestcontainersTests(PortsTestCase):
    """A program that uses Testcontainers."""

    def test_mapped_port(self) -> None:
        """It reads the mapped port and reaches the container there; its reaper is reached, too."""
        agent = self.shared_agent()
        for host in (agent.docker_host, agent.unix_host):
            laptop = self.docker(host)
            image = laptop.name("reaper")
            command = f"CMD {json.dumps(['sh', '-c', _REAPER])}"
            self.done(laptop("import", "--change", command, str(self.remote.busybox_tar), image))
            laptop.environment.update(
                RYUK_CONTAINER_IMAGE=image,
                TESTCONTAINERS_RYUK_DISABLED="false",
                # As it does by itself, but where these tests run in a container.
                TESTCONTAINERS_CONNECTION_MODE="docker_host",
            )
            program = Running([sys.executable, "-c", _PROGRAM], laptop.environment)
            self.addCleanup(program.kill)
            program.expect(b"\n", seconds=60.0)
            said = json.loads(program.stdout)
            self.addCleanup(self.remote.docker, "rm", "-f", said["reaper"], said["container"])
            self.assertEqual(said["page"], "hello\n")
            (binding,) = self.remote_bindings(said["container"])
            self.assertEqual(binding["HostIp"], "127.0.0.1")
            self.shows(said["port"])
            (mount,) = self.on_remote(said["reaper"])["Mounts"]
            self.assertEqual(mount["Source"], "/var/run/docker.sock")
            address = published(laptop("port", said["reaper"], "8080"))[0]
            with socket.create_connection(("127.0.0.1", int(address.split(":")[-1])), timeout=30) as reaper:
                reaper.sendall(b"label=some=thing\r\n")
                self.assertEqual(reaper.recv(4), b"ACK\n")
            program.close_input()
            program.finish(60.0)
            self.frees(said["port"])
