# -*- test-case-name: tests.docker.test_create -*-
"""
Tests for L{remotedocker.docker._create}.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import (
    BindMount,
    ContainerPort,
    CreatePlan,
    CreateRequest,
    CreateSpec,
    MountForm,
    PlacedMount,
    PortBinding,
    decode_labels,
    encode_labels,
)
from remotedocker.errors import BadRequest

_LOOPBACK = [{"HostIp": "127.0.0.1", "HostPort": ""}]


def request(document: Any) -> CreateRequest:
    """A parsed request."""
    return CreateRequest.parse(json.dumps(document).encode())


def mirrored(spec: CreateSpec, prefix: str = "/mirror") -> tuple[PlacedMount, ...]:
    """The decision to mirror every mount."""
    return tuple(PlacedMount(mount, prefix + mount.source, True) for mount in spec.mounts)


def rewritten(parsed: CreateRequest, **plan: Any) -> Any:
    """The rewritten body, decoded; it may name no member twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key.lower() for key, _ in pairs}) == len(pairs), pairs
        return dict(pairs)

    body = parsed.rewrite(CreatePlan(**plan))
    assert body.endswith(b"}\n")
    return json.loads(body, object_pairs_hook=unique)


_BINDS: tuple[tuple[str, BindMount | None], ...] = (
    ("/a:/x", BindMount("/a", "/x")),
    ("/a:/x:", BindMount("/a", "/x")),
    ("/a:/x:ro", BindMount("/a", "/x", True)),
    ("/a:/x:rw", BindMount("/a", "/x")),
    ("/a:/x:z,ro,rslave,cached", BindMount("/a", "/x", True)),
    ("/a,b:/x", BindMount("/a,b", "/x")),
    ("//a//b/:/x/../y", BindMount("//a//b/", "/x/../y")),
    ("/:/x", BindMount("/", "/x")),
    ("C:\\a b:/x", BindMount("C:\\a b", "/x")),
    ("c:/a:/x:ro", BindMount("c:/a", "/x", True)),
    ("//c/a:/x", BindMount("//c/a", "/x")),
    ("/x", None),
    ("named:/x", None),
    ("named:/x:ro", None),
    ("./rel:/x", None),
    ("~/a:/x", None),
    ("", None),
    (":/x", None),
    ("/a:", None),
    ("/a:ro", None),
    ("/a:x", None),
    ("/a: /x", None),
    ("/a:/", None),
    ("/a://", None),
    ("/a:/x/..", None),
    ("/a:/x:foo", None),
    ("/a:/x:RO", None),
    ("/a:/x:ro,ro", None),
    ("/a:/x:ro,rw", None),
    ("/a:/x:z,Z", None),
    ("/a:/x:private,rshared", None),
    ("/a:/x:cached,delegated", None),
    ("/a:/x:,ro", None),
    ("/a:/x:nocopy", None),
    ("/a:b:/x", None),
    ("/a:/x:ro:z", None),
    ("C:/x", None),
    ("C:\\a", None),
    ("\\\\h\\s:/x", None),
)
"""A string of C{Binds}, and the mount that it asks for: none for volumes, and for what dockerd refuses."""

_MOUNTS: tuple[tuple[Any, BindMount | None], ...] = (
    (
        {"Type": "bind", "Source": "/a", "Target": "/x"},
        BindMount("/a", "/x", False, MountForm.MOUNT, False),
    ),
    (
        {"type": "bind", "SOURCE": "C:\\a", "target": "/x", "readonly": True},
        BindMount("C:\\a", "/x", True, MountForm.MOUNT, False),
    ),
    (
        {"Type": "bind", "Source": "/a:b", "Target": "/x", "BindOptions": {"CreateMountpoint": True}},
        BindMount("/a:b", "/x", False, MountForm.MOUNT, True),
    ),
    ({"Type": "bind", "Source": "/a"}, None),
    ({"Type": "bind", "Source": "/a", "Target": 7}, None),
    ({"Type": "bind", "Source": "rel", "Target": "/x"}, None),
    ({"Type": "bind", "Source": None, "Target": "/x"}, None),
    ({"Type": "BIND", "Source": "/a", "Target": "/x"}, None),
    ({"Source": "/a", "Target": "/x"}, None),
    ({"Type": "tmpfs", "Target": "/x"}, None),
    ({"Type": "npipe", "Source": "/a", "Target": "/x"}, None),
    ({"Type": "volume", "Source": "named", "Target": "/x"}, None),
    (7, None),
    (None, None),
)
"""An object of C{Mounts}, and the mount that it asks for."""

_LOCAL_VOLUMES: tuple[tuple[Any, Any, bool | None], ...] = (
    ("local", {"type": "none", "o": "bind", "device": "/a"}, False),
    ("", {"type": "none", "o": "rbind", "device": "/a"}, False),
    (None, {"o": "ro,bind", "device": "/a"}, True),
    ("local", {"type": "none", "o": "bind", "device": "rel"}, None),
    ("local", {"type": "nfs", "o": "addr=10.0.0.1", "device": ":/a"}, None),
    ("local", {"type": "nfs", "o": "addr=10.0.0.1,rw", "device": "/a"}, None),
    ("local", {"type": "tmpfs", "device": "tmpfs"}, None),
    ("local", {"o": "bind", "Device": "/a"}, None),
    ("local", {"o": "bind", "device": 7}, None),
    ("local", None, None),
    ("LOCAL", {"o": "bind", "device": "/a"}, None),
    ("nfs-plugin", {"o": "bind", "device": "/a"}, None),
)
"""A volume driver, its options, and whether that is a read-only bind of C{/a}; None: no bind."""


class SpecTests(SynchronousTestCase):
    """What a create asks for."""

    def test_everything(self) -> None:
        """All that concerns us is found."""
        parsed = request(
            {
                "Image": "busybox",
                "ExposedPorts": {"80": {}, "80/tcp": {}, "x": {}},
                "Labels": {"a": "b", "io.remotedocker.agent": "x", "c": 7, "d": None},
                "HostConfig": {
                    "Binds": ["/a:/x", "v:/y"],
                    "Mounts": [{"Type": "bind", "Source": "/b", "Target": "/z"}],
                    "PortBindings": {"80/tcp": [{"HostPort": "8080"}], "53/udp": [{}]},
                    "PublishAllPorts": True,
                    "NetworkMode": "host",
                },
            }
        )
        self.assertEqual(
            parsed.spec,
            CreateSpec(
                image="busybox",
                mounts=(BindMount("/a", "/x"), BindMount("/b", "/z", False, MountForm.MOUNT, False)),
                ports={
                    ContainerPort(80): (PortBinding("", "8080"),),
                    ContainerPort(53, "udp"): (PortBinding(),),
                },
                exposed=(ContainerPort(80),),
                publish_all=True,
                network_mode="host",
                labels={"a": "b", "d": ""},
                binds=("/a:/x", "v:/y"),
            ),
        )

    def test_nothing(self) -> None:
        """What is missing, null or of another type is empty."""
        documents: tuple[Any, ...] = (
            {},
            {"Image": 7, "ExposedPorts": None, "Labels": [], "HostConfig": None},
            {"HostConfig": {"Binds": None, "Mounts": {}, "PortBindings": [], "PublishAllPorts": "true"}},
            {"HostConfig": {"Binds": [], "NetworkMode": None}},
            {"HostConfig": "x"},
        )
        for document in documents:
            self.assertEqual(request(document).spec, CreateSpec(""))

    def test_refused(self) -> None:
        """A body that is no JSON object is refused."""
        for body in (b"", b"[]", b"null", b"{", b'{"Image":"\xff"}', b'{"a":NaN}'):
            self.assertRaises(BadRequest, CreateRequest.parse, body)

    def test_binds(self) -> None:
        """The grammar of C{Binds}."""
        for bind, mount in _BINDS:
            parsed = request({"HostConfig": {"Binds": [bind]}})
            self.assertEqual(parsed.spec.mounts, () if mount is None else (mount,), bind)

    def test_mounts(self) -> None:
        """The members of C{Mounts}."""
        for document, mount in _MOUNTS:
            parsed = request({"HostConfig": {"Mounts": [document]}})
            self.assertEqual(parsed.spec.mounts, () if mount is None else (mount,), document)

    def test_named_volumes(self) -> None:
        """The volumes that a body names; one that is mounted twice is read-only if both mounts are."""
        host = {
            "Binds": ["va:/a", "vb:/b:ro", "vc:/c:nocopy,ro", "/d:/d", "ve:/e:ro", "vf", "vg:/g:ro:z", ":/h"],
            "Mounts": [
                {"Type": "volume", "Source": "ve", "Target": "/e2"},
                {"Type": "volume", "Source": "vi", "Target": "/i", "ReadOnly": True},
                {"Type": "volume", "Target": "/j"},
                {"Type": "bind", "Source": "vk", "Target": "/k"},
            ],
        }
        spec = CreateRequest.parse(json.dumps({"HostConfig": host}).encode()).spec
        self.assertEqual(spec.volumes, {"va": False, "vb": True, "vc": True, "ve": False, "vi": True})

    def test_local_volumes(self) -> None:
        """A volume of the C{local} driver can be a bind."""
        for name, options, read_only in _LOCAL_VOLUMES:
            driver = {"Name": name, "Options": options}
            for flag in (False, True):
                document = {
                    "Type": "volume",
                    "Target": "/x",
                    "ReadOnly": flag,
                    "VolumeOptions": {"DriverConfig": driver},
                }
                mounts = request({"HostConfig": {"Mounts": [document]}}).spec.mounts
                expected = (
                    ()
                    if read_only is None
                    else (BindMount("/a", "/x", read_only or flag, MountForm.VOLUME, False),)
                )
                self.assertEqual(mounts, expected, driver)


class RewriteTests(SynchronousTestCase):
    """What the daemon is told."""

    def test_unchanged(self) -> None:
        """With an empty plan everything stays, unknown members and numbers too."""
        body = b'{"Z":{"b":1.10,"a":[1e400]},"Image":"x","HostConfig":{"Binds":["/a:/x:ro"],"New":null}}\n'
        self.assertEqual(CreateRequest.parse(body).rewrite(CreatePlan()), body)

    def test_sources(self) -> None:
        """Each source is replaced by its place, in order; volumes and malformed entries stay."""
        parsed = request(
            {
                "HostConfig": {
                    "Binds": ["/a:/x:ro,z", "v:/y", "C:\\b:/z", "/bad", 7, "/c:/w"],
                    "Mounts": [
                        {"Type": "bind", "Source": "/d", "Target": "/p", "X": 1},
                        {"Type": "tmpfs", "Target": "/q"},
                        {
                            "Type": "volume",
                            "Source": "v",
                            "Target": "/r",
                            "VolumeOptions": {"DriverConfig": {"Options": {"o": "bind", "device": "/e"}}},
                        },
                    ],
                }
            }
        )
        placed = list(mirrored(parsed.spec, "/m"))
        placed[2] = PlacedMount(parsed.spec.mounts[2], "/c", False)
        host = rewritten(parsed, placed=tuple(placed))["HostConfig"]
        self.assertEqual(host["Binds"], ["/m/a:/x:ro,z", "v:/y", "/mC:\\b:/z", "/bad", 7, "/c:/w"])
        self.assertEqual(host["Mounts"][0], {"Type": "bind", "Source": "/m/d", "Target": "/p", "X": 1})
        self.assertEqual(host["Mounts"][2]["Source"], "v")
        options = host["Mounts"][2]["VolumeOptions"]["DriverConfig"]["Options"]
        self.assertEqual(options, {"o": "bind", "device": "/m/e"})

    def test_every_form(self) -> None:
        """What is found in the tables is replaced, and nothing else in the string is."""
        for bind, mount in _BINDS:
            parsed = request({"HostConfig": {"Binds": [bind]}})
            expected = bind if mount is None else bind.replace(mount.source, "/new", 1)
            placed = tuple(PlacedMount(each, "/new", True) for each in parsed.spec.mounts)
            self.assertEqual(rewritten(parsed, placed=placed), {"HostConfig": {"Binds": [expected]}})

    def test_decisions_must_fit(self) -> None:
        """Decisions for other mounts than those of the request are a mistake of the caller."""
        parsed = request({"HostConfig": {"Binds": ["/a:/x", "/b:/y"]}})
        self.assertRaises(
            ValueError, parsed.rewrite, CreatePlan(placed=(PlacedMount(parsed.spec.mounts[0], "/m", True),))
        )

    def test_forwarded_ports(self) -> None:
        """A forwarded port is bound on the remote's loopback, whatever was asked; others stay as asked."""
        parsed = request(
            {
                "ExposedPorts": {"80/tcp": {}, "9/tcp": {}},
                "HostConfig": {
                    "PortBindings": {
                        "80/tcp": [
                            {"HostIp": "0.0.0.0", "HostPort": "1"},
                            {"HostIp": "::1", "HostPort": "2"},
                        ],
                        "53/udp": [{"HostPort": "53"}],
                    }
                },
            }
        )
        document = rewritten(parsed, forwarded=(ContainerPort(80), ContainerPort(81)))
        self.assertEqual(
            document["HostConfig"]["PortBindings"],
            {"80/tcp": _LOOPBACK, "53/udp": [{"HostPort": "53"}], "81/tcp": _LOOPBACK},
        )
        self.assertEqual(document["ExposedPorts"], {"80/tcp": {}, "9/tcp": {}, "81/tcp": {}})

    def test_missing_maps(self) -> None:
        """The maps for ports are made where they are missing or null; C{-P} stays."""
        for document in (
            {"HostConfig": {"PublishAllPorts": True}},
            {"HostConfig": {"PublishAllPorts": True, "PortBindings": None}, "ExposedPorts": None},
        ):
            self.assertEqual(
                rewritten(request(document), forwarded=(ContainerPort(80),)),
                {
                    "HostConfig": {"PublishAllPorts": True, "PortBindings": {"80/tcp": _LOOPBACK}},
                    "ExposedPorts": {"80/tcp": {}},
                },
            )

    def test_spellings_of_a_port(self) -> None:
        """Several spellings of a forwarded port become one."""
        parsed = request(
            {
                "ExposedPorts": {"1/tcp": {}, "80": {}, "080/TCP": {}},
                "HostConfig": {"PortBindings": {"80": [{"HostPort": "1"}], "80/TCP": [{"HostPort": "2"}]}},
            }
        )
        self.assertEqual(len(parsed.spec.ports[ContainerPort(80)]), 2)
        document = rewritten(parsed, forwarded=(ContainerPort(80),))
        self.assertEqual(document["HostConfig"]["PortBindings"], {"80/tcp": _LOOPBACK})
        self.assertEqual(document["ExposedPorts"], {"1/tcp": {}, "80/tcp": {}})

    def test_malformed_ports_stay(self) -> None:
        """What the daemon refuses is left for it to refuse."""
        malformed: tuple[Any, ...] = (
            {"80/tcp": [{"HostPort": 8080}]},
            {"80-90/tcp": [{"HostPort": "8080"}]},
            {"80/foo": [{"HostPort": "8080"}]},
            {"80/tcp": "8080"},
            [],
        )
        for bindings in malformed:
            document = {"HostConfig": {"PortBindings": bindings}}
            parsed = request(document)
            self.assertEqual(parsed.spec.ports, {})
            self.assertEqual(rewritten(parsed), document)

    def test_maps_that_are_none(self) -> None:
        """Where the daemon expects a map and gets something else, it stays and is refused there."""
        document = {"HostConfig": {"PortBindings": 7}, "ExposedPorts": "x", "Labels": ["a=b"]}
        plan = {"forwarded": (ContainerPort(80),), "labels": {"io.remotedocker.agent": "x"}}
        self.assertEqual(rewritten(request(document), **plan), document)

    def test_labels(self) -> None:
        """Our labels are added to the user's; labels of that name in the request are replaced."""
        for labels in ({"a": "b"}, {"io.remotedocker.old": "", "a": "b", "io.remotedocker.agent": "x"}):
            parsed = request({"Labels": labels})
            ours = encode_labels("id", "n", parsed.spec, ())
            self.assertEqual(rewritten(parsed, labels=ours), {"Labels": {"a": "b", **ours}})
        self.assertEqual(rewritten(request({"Labels": None}), labels={"x": "y"}), {"Labels": {"x": "y"}})
        self.assertEqual(rewritten(request({}), labels={"x": "y"}), {"Labels": {"x": "y"}})


class SmugglingTests(SynchronousTestCase):
    """Two spellings of one member: the daemon and we must read the same."""

    def _rewritten(self, text: str, **plan: Any) -> tuple[CreateSpec, Any]:
        parsed = CreateRequest.parse(text.encode())
        return parsed.spec, rewritten(parsed, placed=mirrored(parsed.spec), **plan)

    def test_host_config(self) -> None:
        """Two host configurations are merged, as Go decodes them, into one."""
        spec, document = self._rewritten(
            '{"HostConfig":{"Binds":["/a:/x"],"Memory":1},"hostconfig":{"binds":["/b:/y"],"NetworkMode":"n"}}'
        )
        self.assertEqual(spec.mounts, (BindMount("/b", "/y"),))
        self.assertEqual(spec.network_mode, "n")
        self.assertEqual(
            document, {"HostConfig": {"Binds": ["/mirror/b:/y"], "Memory": 1, "NetworkMode": "n"}}
        )

    def test_every_spelling(self) -> None:
        """No spelling that Go accepts gets a bind past us."""
        for host in ("HostConfig", "hostconfig", "HOSTCONFIG", "Ho\u017ftConfig"):
            for binds in ("Binds", "binds", "bIND\u017f"):
                _, document = self._rewritten(f'{{"{host}":{{"{binds}":["/a:/x"]}}}}')
                self.assertEqual(document, {"HostConfig": {"Binds": ["/mirror/a:/x"]}})

    def test_mount_members(self) -> None:
        """The last spelling of a mount's member counts, and is the only one that remains."""
        _, document = self._rewritten(
            '{"HostConfig":{"Mounts":[{"Type":"volume","Source":"v","Target":"/x","type":"bind","source":"/a"}]}}'
        )
        self.assertEqual(
            document["HostConfig"]["Mounts"], [{"Type": "bind", "Source": "/mirror/a", "Target": "/x"}]
        )

    def test_reused_elements(self) -> None:
        """A second list decodes into the elements of the first."""
        _, document = self._rewritten(
            '{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/a","Target":"/x"}],"mounts":[{"Target":"/y"}]}}'
        )
        self.assertEqual(
            document["HostConfig"]["Mounts"], [{"Type": "bind", "Source": "/mirror/a", "Target": "/y"}]
        )

    def test_null_resets(self) -> None:
        """A null after the host configuration takes it away."""
        spec, document = self._rewritten('{"HostConfig":{"Binds":["/a:/x"]},"hostConfig":null}')
        self.assertEqual((spec.mounts, document), ((), {"HostConfig": None}))

    def test_old_top_level(self) -> None:
        """Without a C{HostConfig} a daemon of API 1.41 takes its members from the top level; so do we."""
        for host in ("", '"HostConfig":null,'):
            spec, document = self._rewritten(
                f'{{{host}"Binds":["/a:/x"],"PortBindings":{{"80/tcp":[{{"HostPort":"8"}}]}}}}',
                forwarded=(ContainerPort(80),),
            )
            self.assertEqual(spec.ports, {ContainerPort(80): (PortBinding("", "8"),)})
            self.assertEqual(document["Binds"], ["/mirror/a:/x"])
            self.assertEqual(document["PortBindings"], {"80/tcp": _LOOPBACK})
        spec, document = self._rewritten('{"Binds":["/a:/x"],"HostConfig":{}}')
        self.assertEqual((spec.mounts, document["Binds"]), ((), ["/a:/x"]))

    def test_labels(self) -> None:
        """Repeated maps of labels are merged, the last of a key counts, ours are as we wrote them."""
        spec, document = self._rewritten(
            '{"Labels":{"a":"1","a":"2"},"labels":{"b":"3","io.remotedocker.agent":"x"}}',
            labels={"io.remotedocker.agent": "id"},
        )
        self.assertEqual(spec.labels, {"a": "2", "b": "3"})
        self.assertEqual(document["Labels"], {"a": "2", "b": "3", "io.remotedocker.agent": "id"})

    def test_repeated_port(self) -> None:
        """Of one key of C{PortBindings} given twice the last counts."""
        spec, _ = self._rewritten(
            '{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"1"}],"80/tcp":[{"HostPort":"2"}]}}}'
        )
        self.assertEqual(spec.ports, {ContainerPort(80): (PortBinding("", "2"),)})


class TwiceTests(SynchronousTestCase):
    """A body that comes back to us rewritten."""

    body = json.dumps(
        {
            "Image": "x",
            "Labels": {"a": "b"},
            "HostConfig": {
                "Binds": ["/a:/x:ro", "v:/v"],
                "Mounts": [{"Type": "bind", "Source": "/b", "Target": "/y"}],
                "PortBindings": {
                    "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
                    "53/udp": [{"HostPort": "53"}],
                },
                "PublishAllPorts": True,
            },
        }
    ).encode()

    def _plan(self, spec: CreateSpec, nonce: str) -> CreatePlan:
        forwarded = (ContainerPort(80), ContainerPort(81))
        return CreatePlan(
            mirrored(spec), encode_labels("id", nonce, spec, forwarded), forwarded, warnings=("w",)
        )

    def test_ours(self) -> None:
        """
        Our own rewriting is undone first: the same is asked for, and the same comes out. Only a port that
        C{-P} made us expose is not told from one that the user exposed.
        """
        first = CreateRequest.parse(self.body)
        once = first.rewrite(self._plan(first.spec, "1"))
        second = CreateRequest.parse(once, decode_labels)
        self.assertEqual(second.spec, evolve(first.spec, exposed=(ContainerPort(81),)))
        twice = second.rewrite(self._plan(second.spec, "1"))
        self.assertEqual(json.loads(twice), json.loads(once))

    def test_of_others(self) -> None:
        """Labels of another agent are replaced, and what it rewrote is what is asked for."""
        first = CreateRequest.parse(self.body)
        once = first.rewrite(self._plan(first.spec, "1"))
        second = CreateRequest.parse(once)
        self.assertEqual(second.spec.binds, ("/mirror/a:/x:ro", "v:/v"))
        self.assertEqual(second.spec.ports[ContainerPort(80)], (PortBinding("127.0.0.1", ""),))
        self.assertEqual(second.spec.labels, {"a": "b"})
