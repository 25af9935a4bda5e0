# -*- test-case-name: tests.docker.test_answers -*-
"""
Tests for L{remotedocker.docker._answers} and L{remotedocker.docker._restore}, on answers that a dockerd
20.10.24 gave: once for a container created straight (C{recorded/straight-*}), once for the same request as
L{CreateRequest} rewrites it (C{recorded/through-*}).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, frozen
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import (
    ContainerPort,
    CreatePlan,
    CreateRequest,
    OwnedContainer,
    PlacedMount,
    PortBinding,
    PortMap,
    decode_labels,
    encode_labels,
    error_body,
    published_ports,
    split_filters,
    translate_create_answer,
    translate_error,
    translate_inspect,
    translate_list,
    translate_system_df,
    translate_volume,
    translate_volume_list,
)

_RECORDED = Path(__file__).parent / "recorded"
_MIRROR = "/srv/remotedocker/ab12"
"""The root of the mirrors in the recorded answers."""


def recorded(name: str) -> bytes:
    """A recorded answer."""
    return (_RECORDED / f"{name}.json").read_bytes()


@frozen
class View:
    """What the translation has to know."""

    ports: PortMap = Factory(dict)
    agent_id: str = "ab12"

    def local_ports(self, container_id: str) -> PortMap | None:
        """The same for each container."""
        return self.ports or None

    def laptop_path(self, remote_path: str) -> str | None:
        """Mirrors repeat the laptop's path under their root."""
        if not remote_path.startswith(_MIRROR + "/"):
            return None
        return remote_path[len(_MIRROR) :]

    def owned(self, labels: Mapping[str, str]) -> OwnedContainer | None:
        """The agent's own."""
        owned = decode_labels(labels)
        return owned if owned is not None and owned.agent_id == self.agent_id else None


STRANGER = View(agent_id="somebody else")


def anonymous(body: bytes, name: str) -> bytes:
    """
    C{body} without what differs from one container to the next: its ids, name, times, addresses and layers.
    """
    text = body.decode()
    for pattern, replacement in (
        (r"\b[0-9a-f]{64}\b", "ID"),
        (r"\b[0-9a-f]{12}\b", "SHORT"),
        (rf"\b{name}\b", "NAME"),
        (r"[0-9-]{10}T[0-9:.]+Z", "TIME"),
        (r'"Pid":[0-9]+', '"Pid":0'),
        (r"172\.17\.0\.[0-9]+", "ADDRESS"),
        (r"02:42:ac:11:00:[0-9]{2}", "MAC"),
        (r'"Created":[0-9]+', '"Created":0'),
        (r'"(CreatedAt|Status)":"[^"]*"', r'"\1":""'),
        (r'("Containers":)[0-9]+', r"\g<1>0"),
        (r'(?<="53/udp":)\[[^]]*\]', "[]"),
        (r'(?<="PrivatePort":53,"PublicPort":)[0-9]+', "0"),
    ):
        text = re.sub(pattern, replacement, text)
    return text.encode()


def entry(document: Any) -> Any:
    """One container of a list, with its unordered lists sorted."""
    document["Ports"].sort(key=lambda port: (port["PrivatePort"], port["IP"]))
    document["Mounts"].sort(key=lambda mount: mount["Destination"])
    return document


def view_of(inspected: bytes) -> View:
    """A view in which that is open here which the daemon had opened for the straight container."""
    ports = published_ports(json.loads(inspected))
    return View({port: ports[port] for port in (ContainerPort(80), ContainerPort(81))})


class InspectTests(SynchronousTestCase):
    """C{GET /containers/{id}/json}."""

    def test_as_straight(self) -> None:
        """A running container looks as if nobody stood between, member for member."""
        straight = recorded("straight-inspect")
        through = translate_inspect(recorded("through-inspect"), view_of(straight))
        self.assertNotIn(b"remotedocker", through)
        left, right = (
            json.loads(anonymous(body, name)) for body, name in ((straight, "straight"), (through, "through"))
        )
        for document in (left, right):
            document["Mounts"].sort(key=lambda mount: mount["Destination"])
        self.assertEqual(json.dumps(right, indent=1), json.dumps(left, indent=1))

    def test_before_it_runs(self) -> None:
        """So does one that was never started."""
        bodies = [
            json.loads(anonymous(body, name))
            for body, name in (
                (recorded("straight-inspect-created"), "straight"),
                (translate_inspect(recorded("through-inspect-created"), View()), "through"),
            )
        ]
        for document in bodies:
            document["Mounts"].sort(key=lambda mount: mount["Destination"])
        self.assertEqual(json.dumps(bodies[1]), json.dumps(bodies[0]))
        self.assertEqual(bodies[1]["NetworkSettings"]["Ports"], {})

    def test_nothing_open(self) -> None:
        """A forwarded port that is not open here is exposed only; others stay as the daemon has them."""
        before = json.loads(recorded("through-inspect"))["NetworkSettings"]["Ports"]
        ports = json.loads(translate_inspect(recorded("through-inspect"), View()))["NetworkSettings"]["Ports"]
        self.assertEqual(ports, {"53/udp": before["53/udp"], "80/tcp": None, "81/tcp": None})

    def test_several_bindings(self) -> None:
        """All that is open for a port is shown."""
        view = View({ContainerPort(80): (PortBinding("127.0.0.1", "8080"), PortBinding("::1", "8080"))})
        ports = json.loads(translate_inspect(recorded("through-inspect"), view))["NetworkSettings"]["Ports"]
        self.assertEqual(
            ports["80/tcp"],
            [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "::1", "HostPort": "8080"}],
        )

    def test_not_ours(self) -> None:
        """A container of others, and what is no inspect answer, is the same object."""
        for body in (recorded("straight-inspect"), b"[]", b"{}", b"nonsense", b'{"Config":null}', b"\xff"):
            self.assertIs(translate_inspect(body, View()), body)
        body = recorded("through-inspect")
        self.assertIs(translate_inspect(body, STRANGER), body)

    def test_bytes(self) -> None:
        """Where nothing is translated the bytes are the daemon's own."""
        body = recorded("straight-inspect")
        labels = encode_labels("ab12", "n", CreateRequest.parse(b"{}").spec, ())
        added = "".join(f",{json.dumps(key)}:{json.dumps(value)}" for key, value in labels.items()).encode()
        marked = body.replace(b'"com.example":"x"', b'"com.example":"x"' + added)
        self.assertNotEqual(marked, body)
        self.assertEqual(translate_inspect(marked, View()), body)


class ListTests(SynchronousTestCase):
    """C{GET /containers/json} and C{GET /system/df}."""

    def setUp(self) -> None:
        """The lists have both containers."""
        self.view = view_of(recorded("straight-inspect"))
        self.body = recorded("through-list")

    def test_as_straight(self) -> None:
        """Our container looks like the other one."""
        entries = json.loads(translate_list(self.body, self.view))
        through, straight = (
            json.dumps(entry(json.loads(anonymous(json.dumps(each, separators=(",", ":")).encode(), name))))
            for each, name in zip(entries, ("through", "straight"), strict=True)
        )
        self.assertEqual(through, straight)

    def test_others_stay(self) -> None:
        """The other's bytes are in the answer as they were."""
        other = self.body[self.body.rindex(b',{"Id":') :]
        self.assertIn(b"/straight", other)
        self.assertTrue(translate_list(self.body, self.view).endswith(other))

    def test_system_df(self) -> None:
        """The containers are translated there too; the rest stays."""
        body = recorded("through-df")
        translated = translate_system_df(body, self.view)
        before, after = json.loads(body), json.loads(translated)
        self.assertEqual(list(after), list(before))
        self.assertEqual(after["Images"], before["Images"])
        self.assertNotIn(b"remotedocker", translated)
        self.assertEqual(after["Containers"][0]["Names"], ["/through"])
        self.assertIn("127.0.0.1", [port.get("IP") for port in after["Containers"][0]["Ports"]])

    def test_newer_system_df(self) -> None:
        """Since API 1.52 the containers and volumes are one level deeper."""
        listed, volumes = self.body.strip(), b"[" + recorded("through-volume").strip() + b"]"
        before = b'{"ContainerUsage":{"ActiveCount":2,"Items":%s},"VolumeUsage":{"Items":%s}}\n'
        self.assertEqual(
            translate_system_df(before % (listed, volumes), self.view),
            before % (translate_list(listed, self.view).strip(), volumes.replace(_MIRROR.encode(), b"")),
        )

    def test_nothing_open(self) -> None:
        """A forwarded port that is not open here is shown as exposed."""
        ports = json.loads(translate_list(self.body, View()))[0]["Ports"]
        self.assertIn({"PrivatePort": 80, "Type": "tcp"}, ports)
        self.assertIn({"PrivatePort": 81, "Type": "tcp"}, ports)
        self.assertEqual([port["PrivatePort"] for port in ports if "PublicPort" in port], [53, 53])

    def test_two_addresses(self) -> None:
        """Two entries of the daemon for one port become as many as are open here."""
        body = (
            b'[{"Id":"x","Ports":[null,{"PrivatePort":"80"},{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":1,'
            b'"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":1,"Type":"tcp"}],"Labels":%s}]'
        ) % json.dumps(encode_labels("ab12", "n", CreateRequest.parse(b"{}").spec, ())).encode()
        view = View({ContainerPort(80): tuple(PortBinding("::1", port) for port in ("2", "3", "4"))})
        self.assertEqual(
            json.loads(translate_list(body, view))[0]["Ports"],
            [
                None,
                {"PrivatePort": "80"},
                *(
                    {"IP": "::1", "PrivatePort": 80, "PublicPort": number, "Type": "tcp"}
                    for number in (2, 3, 4)
                ),
            ],
        )

    def test_not_ours(self) -> None:
        """A list in which nothing is ours, and what is no list, is the same object."""
        for body in (recorded("straight-list"), b"[]\n", b"null\n", b"[1,null]", b"{}", b"["):
            self.assertIs(translate_list(body, self.view), body)
        self.assertIs(translate_list(self.body, STRANGER), self.body)
        for body in (recorded("straight-df"), b"[]", b"{", b'{"Containers":null}'):
            self.assertIs(translate_system_df(body, self.view), body)

    def test_filter(self) -> None:
        """Filters of our own see the translated list, and leave the kept ones as they are."""
        for filters, names in (
            ('{"publish":["8080"]}', ["/through", "/straight"]),
            ('{"volume":["/srv/site"]}', ["/through", "/straight"]),
            (f'{{"volume":["{_MIRROR}/srv/site"]}}', []),
            ('{"label":["io.remotedocker.agent"]}', []),
        ):
            _, only = split_filters({"filters": (filters,)})
            found = json.loads(translate_list(self.body, self.view, only))
            self.assertEqual([each["Names"][0] for each in found], names, filters)
        _, only = split_filters({"filters": ('{"label":["io.remotedocker.agent"]}',)})
        self.assertEqual(translate_list(recorded("straight-list"), self.view, only), b"[]\n")
        found = json.loads(translate_list(self.body, STRANGER, only))
        self.assertEqual(found, json.loads(self.body)[:1])


class RoundTripTests(SynchronousTestCase):
    """What was typed, through the rewriting and back."""

    def test_recorded_request(self) -> None:
        """The recorded answers belong to what the rewriting makes of the recorded request today."""
        parsed = CreateRequest.parse(recorded("typed"))
        forwarded = (ContainerPort(80), ContainerPort(81))
        placed = tuple(
            PlacedMount(mount, _MIRROR + path, True)
            for mount, path in zip(parsed.spec.mounts, ("/srv/site", "/srv/lib", "/srv/data"), strict=True)
        )
        labels = encode_labels("ab12", "5eed", parsed.spec, forwarded)
        told = json.loads(parsed.rewrite(CreatePlan(placed, labels, forwarded)))
        inspected = json.loads(recorded("through-inspect-created"))
        for name in ("Binds", "Mounts", "PortBindings", "PublishAllPorts"):
            self.assertEqual(inspected["HostConfig"][name], told["HostConfig"][name])
        self.assertEqual(inspected["Config"]["Labels"], told["Labels"])

    def test_any_request(self) -> None:
        """Of each request the daemon's echo shows what was typed."""
        host_configs: tuple[dict[str, Any], ...] = (
            {"Binds": None, "Mounts": None, "PortBindings": None, "PublishAllPorts": False},
            {"Binds": [], "Mounts": [], "PortBindings": {}},
            {"Binds": ["v:/x", "/a/../b/:/y:ro"]},
            {"Binds": ["C:\\Users\\me:/x"]},
            {
                "PortBindings": {
                    "80/tcp": [{"HostIp": "", "HostPort": "8090-8095"}],
                    "53/udp": [{"HostPort": "1"}],
                }
            },
            {"PortBindings": {"80/tcp": []}},
            {"PublishAllPorts": True, "PortBindings": {"81/tcp": [{"HostIp": "::1", "HostPort": "0"}]}},
            {
                "Mounts": [
                    {"Type": "bind", "Source": "/a//b", "Target": "/x"},
                    {"Type": "tmpfs", "Target": "/y"},
                    {
                        "Type": "volume",
                        "Target": "/z",
                        "VolumeOptions": {"DriverConfig": {"Options": {"o": "bind", "device": "/c/"}}},
                    },
                ]
            },
        )
        for host_config in host_configs:
            for exposed in (("80/tcp", "81/tcp"), ("9/tcp",)):
                self._check(
                    {
                        "Labels": {"a": "b"},
                        "ExposedPorts": {port: {} for port in exposed},
                        "HostConfig": host_config,
                    }
                )

    def _check(self, typed: Any) -> None:
        parsed = CreateRequest.parse(json.dumps(typed).encode())
        forwarded = tuple(port for port in parsed.spec.ports if port.protocol == "tcp")
        if parsed.spec.publish_all:
            forwarded = tuple(dict.fromkeys((*forwarded, *parsed.spec.exposed)))
        plan = CreatePlan(
            tuple(PlacedMount(mount, f"{_MIRROR}/place", True) for mount in parsed.spec.mounts),
            encode_labels("ab12", "n", parsed.spec, forwarded),
            forwarded,
        )
        told = json.loads(parsed.rewrite(plan))
        config = {"Labels": told["Labels"], "ExposedPorts": told["ExposedPorts"]}
        echo = json.dumps({"Id": "x", "HostConfig": told["HostConfig"], "Config": config})
        shown = json.loads(translate_inspect(echo.encode(), View()))
        for host_config in (shown["HostConfig"], typed["HostConfig"]):
            if not host_config.get("PortBindings"):
                host_config["PortBindings"] = None
        self.assertEqual(shown["HostConfig"], typed["HostConfig"])
        self.assertEqual(shown["Config"]["Labels"], {"a": "b"})
        self.assertEqual(set(shown["Config"]["ExposedPorts"]), set(typed["ExposedPorts"]))

    def test_exposed_by_us_alone(self) -> None:
        """Where the user exposed nothing, nothing is shown."""
        parsed = CreateRequest.parse(b'{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"1"}]}}}')
        forwarded = (ContainerPort(80),)
        labels = encode_labels("ab12", "n", parsed.spec, forwarded)
        told = json.loads(parsed.rewrite(CreatePlan((), labels, forwarded)))
        echo = json.dumps({"Config": {"ExposedPorts": told["ExposedPorts"], "Labels": told["Labels"]}})
        self.assertEqual(translate_inspect(echo.encode(), View()), b'{"Config":{"Labels":{}}}\n')


class VolumeTests(SynchronousTestCase):
    """Volumes that are binds of mirrors."""

    def test_device(self) -> None:
        """The device is shown as typed."""
        body = recorded("through-volume")
        self.assertEqual(translate_volume(body, View()), body.replace(_MIRROR.encode(), b""))
        body = recorded("through-volumes")
        self.assertEqual(translate_volume_list(body, View()), body.replace(_MIRROR.encode(), b""))

    def test_not_ours(self) -> None:
        """Other volumes are the same object."""
        for body in (recorded("straight-volume"), b"null", b"{}", b"[]", b'{"Options":null}'):
            self.assertIs(translate_volume(body, View()), body)
        for body in (recorded("straight-volumes"), b'{"Volumes":null,"Warnings":null}', b"{}", b"[]"):
            self.assertIs(translate_volume_list(body, View()), body)

    def test_system_df(self) -> None:
        """The volumes of a disk usage are translated too."""
        volume = recorded("through-volume").strip()
        body = b'{"Volumes":[' + volume + b'],"Containers":[]}\n'
        self.assertEqual(translate_system_df(body, View()), body.replace(_MIRROR.encode(), b""))


class CreateAnswerTests(SynchronousTestCase):
    """The answer of C{POST /containers/create}."""

    def test_warnings(self) -> None:
        """Our warnings stand behind the daemon's."""
        self.assertEqual(
            translate_create_answer(b'{"Id":"x","Warnings":["a"]}\n', ["b", "<c>"]),
            b'{"Id":"x","Warnings":["a","b","<c>"]}\n',
        )
        for body in (b'{"Id":"x","Warnings":[]}\n', b'{"Id":"x","Warnings":null}\n', b'{"Id":"x"}'):
            self.assertEqual(translate_create_answer(body, ["b"]), b'{"Id":"x","Warnings":["b"]}\n')

    def test_unchanged(self) -> None:
        """Without warnings, and for what is no such answer, it is the same object."""
        body = recorded("through-create")
        self.assertIs(translate_create_answer(body, ()), body)
        for body in (b"", b"[]", b"oops"):
            self.assertIs(translate_create_answer(body, ["b"]), body)


_ERRORS: tuple[tuple[str, str], ...] = (
    (
        'invalid mount config for type "bind": bind source path does not exist: ROOT/home/me/nope',
        'invalid mount config for type "bind": bind source path does not exist: /home/me/nope',
    ),
    (
        "error while mounting volume '/var/lib/docker/volumes/bv/_data': failed to mount local volume: mount "
        "ROOT/srv/my dir:/var/lib/docker/volumes/bv/_data, flags: 0x1000: no such file or directory",
        "error while mounting volume '/var/lib/docker/volumes/bv/_data': failed to mount local volume: mount "
        "/srv/my dir:/var/lib/docker/volumes/bv/_data, flags: 0x1000: no such file or directory",
    ),
    (
        "invalid volume specification: 'ROOT/srv/x:/..': invalid specification: destination can't be '/'",
        "invalid volume specification: '/srv/x:/..': invalid specification: destination can't be '/'",
    ),
    (
        "path ROOT/a is mounted on ROOT/b but it is not a shared mount",
        "path /a is mounted on /b but it is not a shared mount",
    ),
    ('rootfs "ROOT/a" (ROOT/b) [ROOT/c] `ROOT/d`', 'rootfs "/a" (/b) [/c] `/d`'),
    ("ROOT/a: not a directory: unknown", "/a: not a directory: unknown"),
    ("first\nROOT/a\nlast", "first\n/a\nlast"),
)
"""Messages of the daemon with C{ROOT} for the root of the mirrors, and what the user reads."""


class ErrorTests(SynchronousTestCase):
    """Remote paths in error messages."""

    def test_paths(self) -> None:
        """A path that mirrors one of the laptop's is shown as that one."""
        for told, shown in _ERRORS:
            body = error_body(told.replace("ROOT", _MIRROR))
            self.assertEqual(translate_error(body, View().laptop_path), error_body(shown))

    def test_longest_beginning(self) -> None:
        """Where only a beginning of the text is a path that is known, that is translated."""
        known = {"/m/a b": "/home/a b"}
        body = error_body("mount of /m/a b to it failed")
        self.assertEqual(translate_error(body, known.get), error_body("mount of /home/a b to it failed"))

    def test_unchanged(self) -> None:
        """A message without such paths, and what is no error of the daemon's, is the same object."""
        for body in (
            error_body("No such container: x"),
            error_body(f"x{_MIRROR}/a and {_MIRROR}"),
            b'{"message":7}',
            b'{"errors":[]}',
            b"404 page not found\n",
            b"[]",
            b"",
        ):
            self.assertIs(translate_error(body, View().laptop_path), body)

    def test_other_members_stay(self) -> None:
        """Members that newer daemons add stay."""
        self.assertEqual(
            translate_error(b'{"message":"at %s/a","code":1.0}' % _MIRROR.encode(), View().laptop_path),
            b'{"message":"at /a","code":1.0}\n',
        )
