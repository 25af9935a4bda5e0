# -*- test-case-name: tests.forwards.test_plan -*-
"""
Plans: wanted against open, without sockets.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import ContainerPort, PortBinding, PortMap
from remotedocker.forwards._plan import (
    Action,
    Close,
    Collision,
    Host,
    InvalidPort,
    LocalAddress,
    Numbers,
    Open,
    Opened,
    Point,
    Slot,
    Target,
    describe,
    hosts_of,
    plan_publish,
    plan_reserve,
    slots_of,
    span_of,
    target_of,
)

__all__ = [
    "AddressTests",
    "HostsTests",
    "NumbersTests",
    "PropertyTests",
    "PublishTests",
    "ReserveTests",
    "SlotTests",
    "SpanTests",
    "TargetTests",
]

HTTP = ContainerPort(80)
HTTPS = ContainerPort(443)
DNS = ContainerPort(53, "udp")
PUBLISH = ("127.0.0.1", "::1")
DYNAMIC = range(32768, 32778)
BOTH = (Host("127.0.0.1"), Host("::1", optional=True))


def only(number: int) -> Numbers:
    """Exactly that number."""
    return Numbers(range(number, number + 1))


def slot(port: ContainerPort, host_ip: str = "", host_port: str = "", occurrence: int = 0) -> Slot:
    """A slot, in short."""
    return Slot(port, PortBinding(host_ip, host_port), occurrence)


def reserve(
    requested: PortMap,
    opened: Mapping[Slot, Opened] | None = None,
    remembered: Mapping[Slot, int] | None = None,
    taken: Mapping[LocalAddress, str] | None = None,
    start: int | None = None,
    spared: frozenset[int] = frozenset(),
) -> tuple[Action, ...]:
    """L{plan_reserve} with what these tests have in common."""
    return plan_reserve(
        requested, opened or {}, remembered or {}, taken or {}, PUBLISH, DYNAMIC, start, spared
    )


class SpanTests(SynchronousTestCase):
    """What a C{HostPort} admits."""

    def test_forms(self) -> None:
        """Nothing and 0 leave the choice open; a number is itself; a range is all its numbers."""
        for text, expected in {
            "": DYNAMIC,
            "0": DYNAMIC,
            "8080": range(8080, 8081),
            "1": range(1, 2),
            "65535": range(65535, 65536),
            "8000-8010": range(8000, 8011),
            "8000-8000": range(8000, 8001),
        }.items():
            self.assertEqual(span_of(text, DYNAMIC), expected, text)

    def test_invalid(self) -> None:
        """Anything else is no port."""
        for text in (
            "http",
            "-1",
            "65536",
            "8010-8000",
            "8000-",
            "-",
            "8000-70000",
            "0-5",
            "80-81-82",
            "٨",
            " 80",
        ):
            with self.assertRaises(InvalidPort, msg=text):
                span_of(text, DYNAMIC)


class HostsTests(SynchronousTestCase):
    """What a C{HostIp} means."""

    def test_default(self) -> None:
        """Nothing means the addresses of --publish-address; IPv6 may be missing."""
        self.assertEqual(hosts_of("", PUBLISH), BOTH)

    def test_no_address(self) -> None:
        """A name, brackets and a scope mean the default, as with the daemon before version 29."""
        for text in ("localhost", "[::1]", "fe80::1%eth0", "127.1"):
            self.assertEqual(hosts_of(text, PUBLISH), BOTH, text)

    def test_as_typed(self) -> None:
        """An address means itself, and must be there."""
        for text in ("0.0.0.0", "::", "127.0.0.1", "::1", "192.0.2.7"):
            self.assertEqual(hosts_of(text, PUBLISH), (Host(text),))

    def test_same_address(self) -> None:
        """Spellings of one address are one address."""
        self.assertEqual(hosts_of("0:0:0:0:0:0:0:1", PUBLISH), (Host("::1"),))

    def test_daemon_order(self) -> None:
        """IPv4 comes before IPv6, however it was configured."""
        self.assertEqual(hosts_of("", ("::1", "127.0.0.1")), BOTH)

    def test_ipv6_alone(self) -> None:
        """An IPv6 address that was asked for alone must be there."""
        self.assertEqual(hosts_of("", ("::1",)), (Host("::1"),))


class AddressTests(SynchronousTestCase):
    """Addresses, as written and as they exclude each other."""

    def test_written(self) -> None:
        """IPv6 goes in brackets; a range has both ends."""
        self.assertEqual(str(LocalAddress("127.0.0.1", 80)), "127.0.0.1:80")
        self.assertEqual(str(LocalAddress("::1", 80)), "[::1]:80")
        self.assertEqual(describe("127.0.0.1", range(80, 81)), "127.0.0.1:80")
        self.assertEqual(describe("::1", range(80, 90)), "[::1]:80-89")

    def test_overlaps(self) -> None:
        """The same number collides on the same address or on one for all, of the same family and protocol."""
        http = LocalAddress("127.0.0.1", 80)
        for host, expected in {
            "127.0.0.1": True,
            "0.0.0.0": True,
            "127.0.0.2": False,
            "::1": False,
            "::": False,
        }.items():
            self.assertIs(http.overlaps(LocalAddress(host, 80)), expected, host)
            self.assertIs(LocalAddress(host, 80).overlaps(http), expected, host)
        self.assertFalse(http.overlaps(LocalAddress("127.0.0.1", 81)))
        self.assertFalse(http.overlaps(LocalAddress("127.0.0.1", 80, "udp")))


class SlotTests(SynchronousTestCase):
    """Bindings, told apart."""

    def test_order(self) -> None:
        """By port, then as typed; equal ones are counted; UDP is passed over."""
        self.assertEqual(
            slots_of(
                {
                    HTTPS: (PortBinding("", "8443"),),
                    DNS: (PortBinding("", "53"),),
                    HTTP: (PortBinding(), PortBinding("127.0.0.1", "8080"), PortBinding()),
                }
            ),
            (slot(HTTP), slot(HTTP, "127.0.0.1", "8080"), slot(HTTP, occurrence=1), slot(HTTPS, "", "8443")),
        )


class NumbersTests(SynchronousTestCase):
    """The order in which numbers are tried."""

    def test_goes_round(self) -> None:
        """From the start to the end, then from the first to the start."""
        self.assertEqual(list(Numbers(range(10, 14), start=12)), [12, 13, 10, 11])

    def test_preferred_first(self) -> None:
        """What it had before comes first, and only once."""
        self.assertEqual(list(Numbers(range(10, 14), preferred=12)), [12, 10, 11, 13])

    def test_preferred_outside(self) -> None:
        """What it had before is of no account when it is not admitted any more."""
        self.assertEqual(list(Numbers(range(10, 12), preferred=15)), [10, 11])

    def test_start_outside(self) -> None:
        """A start outside means the beginning."""
        self.assertEqual(list(Numbers(range(10, 12), start=99)), [10, 11])

    def test_avoid(self) -> None:
        """Numbers in use are not tried, not even the preferred one."""
        self.assertEqual(list(Numbers(range(10, 14), preferred=12, avoid=frozenset({11, 12}))), [10, 13])


class ReserveTests(SynchronousTestCase):
    """Plans of what to open."""

    def test_forms(self) -> None:
        """Each form of -p opens what it means."""
        for binding, expected in {
            PortBinding("", "8080"): (BOTH, only(8080)),
            PortBinding("localhost", "8080"): (BOTH, only(8080)),
            PortBinding("0.0.0.0", "8080"): ((Host("0.0.0.0"),), only(8080)),
            PortBinding("::", "8080"): ((Host("::"),), only(8080)),
            PortBinding("127.0.0.1", "8080"): ((Host("127.0.0.1"),), only(8080)),
            PortBinding("::1", "8080"): ((Host("::1"),), only(8080)),
            PortBinding("192.0.2.7", "8080"): ((Host("192.0.2.7"),), only(8080)),
            PortBinding("", ""): (BOTH, Numbers(DYNAMIC)),
            PortBinding("", "0"): (BOTH, Numbers(DYNAMIC)),
            PortBinding("", "8000-8010"): (BOTH, Numbers(range(8000, 8011))),
        }.items():
            self.assertEqual(
                reserve({HTTP: (binding,)}), (Open(Slot(HTTP, binding), *expected),), str(binding)
            )

    def test_nothing(self) -> None:
        """No bindings, or none that can be opened here: nothing to do."""
        self.assertEqual(reserve({}), ())
        self.assertEqual(reserve({HTTP: (), DNS: (PortBinding("", "53"),)}), ())

    def test_typed_numbers_first(self) -> None:
        """A number typed is opened before a range, a range before a port left open."""
        plan = reserve(
            {
                HTTP: (PortBinding(), PortBinding("", "8000-8010"), PortBinding("", "9000")),
                HTTPS: (PortBinding("", "9001"),),
            }
        )
        self.assertEqual(
            [action.slot.binding.host_port for action in plan], ["9000", "9001", "8000-8010", ""]
        )

    def test_own_numbers_avoided(self) -> None:
        """What one binding takes is not tried for the next."""
        plan = reserve({HTTP: (PortBinding(), PortBinding(), PortBinding("", str(DYNAMIC[0])))})
        self.assertEqual(
            [next(iter(action.numbers)) for action in plan if isinstance(action, Open)], list(DYNAMIC[:3])
        )

    def test_remembered(self) -> None:
        """The number it had before is tried first, for a port left open and in a range."""
        for binding, number in ((PortBinding(), DYNAMIC[5]), (PortBinding("", "8000-8010"), 8005)):
            (action,) = reserve({HTTP: (binding,)}, remembered={Slot(HTTP, binding): number})
            assert isinstance(action, Open)
            self.assertEqual(next(iter(action.numbers)), number)

    def test_start_and_spared(self) -> None:
        """A port left open is sought from where the last one was found, past the numbers of others."""
        (action,) = reserve({HTTP: (PortBinding(),)}, start=DYNAMIC[3], spared=frozenset({DYNAMIC[3], 8080}))
        self.assertEqual(
            action, Open(slot(HTTP), BOTH, Numbers(DYNAMIC, start=DYNAMIC[3], avoid=frozenset({DYNAMIC[3]})))
        )

    def test_spared_may_be_typed(self) -> None:
        """A number typed is opened though another container had it once."""
        plan = reserve({HTTP: (PortBinding("", "8080"),)}, spared=frozenset({8080}))
        self.assertEqual(plan, (Open(slot(HTTP, "", "8080"), BOTH, only(8080)),))

    def test_taken(self) -> None:
        """A number that another container has: the collision says whose it is, in the daemon's spelling."""
        with self.assertRaises(Collision) as raised:
            reserve({HTTP: (PortBinding("", "8080"),)}, taken={LocalAddress("::1", 8080): "other"})
        self.assertEqual(raised.exception.address, "127.0.0.1:8080")
        self.assertEqual(raised.exception.holders, {"other"})

    def test_taken_elsewhere(self) -> None:
        """Another address of this machine is no obstacle."""
        plan = reserve(
            {HTTP: (PortBinding("127.0.0.1", "8080"),)}, taken={LocalAddress("127.0.0.2", 8080): "other"}
        )
        self.assertEqual(len(plan), 1)

    def test_range_exhausted(self) -> None:
        """A range whose numbers are all taken collides with all their holders."""
        with self.assertRaises(Collision) as raised:
            reserve(
                {HTTP: (PortBinding("", "8000-8001"),)},
                taken={LocalAddress("0.0.0.0", 8000): "one", LocalAddress("127.0.0.1", 8001): "two"},
            )
        self.assertEqual(raised.exception.address, "127.0.0.1:8000-8001")
        self.assertEqual(raised.exception.holders, {"one", "two"})

    def test_in_its_own_way(self) -> None:
        """A container that types a number twice for overlapping addresses collides with nobody else."""
        with self.assertRaises(Collision) as raised:
            reserve({HTTP: (PortBinding("", "8080"),), HTTPS: (PortBinding("0.0.0.0", "8080"),)})
        self.assertEqual(raised.exception.holders, frozenset())

    def test_invalid(self) -> None:
        """What is no port is named."""
        with self.assertRaises(InvalidPort) as raised:
            reserve({HTTP: (PortBinding("", "http"),)})
        self.assertEqual(str(raised.exception), "http")

    def test_open_already(self) -> None:
        """What is open is left alone; only what is missing is opened."""
        plan = reserve(
            {HTTP: (PortBinding("", "8080"),), HTTPS: (PortBinding("", "8443"),)},
            opened={slot(HTTP, "", "8080"): Opened(8080, PUBLISH)},
        )
        self.assertEqual(plan, (Open(slot(HTTPS, "", "8443"), BOTH, only(8443)),))

    def test_changed(self) -> None:
        """Another binding for a port: the old one is closed first, and its number can be had."""
        plan = reserve(
            {HTTP: (PortBinding("127.0.0.1", "8080"),)},
            opened={
                slot(HTTP, "", "8080"): Opened(8080, PUBLISH),
                slot(HTTPS, "", "8443"): Opened(8443, PUBLISH),
            },
        )
        self.assertEqual(
            plan,
            (
                Close(slot(HTTP, "", "8080")),
                Open(slot(HTTP, "127.0.0.1", "8080"), (Host("127.0.0.1"),), only(8080)),
            ),
        )


class TargetTests(SynchronousTestCase):
    """Where a published port is reached from the remote host."""

    def test_forms(self) -> None:
        """Addresses for all mean the loopback; IPv4 is preferred; what has no number is not published."""
        for bindings, expected in {
            (): None,
            (PortBinding("127.0.0.1", "49153"),): Target("127.0.0.1", 49153),
            (PortBinding("", "49153"),): Target("127.0.0.1", 49153),
            (PortBinding("0.0.0.0", "49153"), PortBinding("::", "49154")): Target("127.0.0.1", 49153),
            (PortBinding("::", "49154"), PortBinding("0.0.0.0", "49153")): Target("127.0.0.1", 49153),
            (PortBinding("::", "49154"),): Target("::1", 49154),
            (PortBinding("10.0.0.5", "80"),): Target("10.0.0.5", 80),
            (PortBinding("127.0.0.1", ""),): None,
            (PortBinding("127.0.0.1", "0"),): None,
        }.items():
            self.assertEqual(target_of(bindings), expected, str(bindings))


class PublishTests(SynchronousTestCase):
    """Plans of where to lead."""

    OPENED = {slot(HTTP, "", "8080"): Opened(8080, PUBLISH), slot(HTTPS): Opened(32768, PUBLISH)}

    def test_point_and_close(self) -> None:
        """What is reported is led there, what is not is closed; a port that is not open is passed over."""
        plan = plan_publish(
            {HTTP: (PortBinding("127.0.0.1", "49153"),), ContainerPort(22): (PortBinding("", "22"),)},
            self.OPENED,
        )
        self.assertEqual(
            plan, (Point(slot(HTTP, "", "8080"), Target("127.0.0.1", 49153)), Close(slot(HTTPS)))
        )

    def test_changed_only(self) -> None:
        """Only what leads elsewhere is led anew."""
        opened = {key: evolve(now, target=Target("127.0.0.1", 49153)) for key, now in self.OPENED.items()}
        plan = plan_publish(
            {HTTP: (PortBinding("", "49153"),), HTTPS: (PortBinding("", "49160"),)},
            opened,
        )
        self.assertEqual(plan, (Point(slot(HTTPS), Target("127.0.0.1", 49160)),))


PORTS = st.builds(ContainerPort, st.integers(1, 4), st.sampled_from(["tcp", "udp", "sctp"]))
ADDRESSES = ["0.0.0.0", "::", "127.0.0.1", "::1", "192.0.2.7"]
HOST_IPS = st.sampled_from(["", "localhost", *ADDRESSES])
HOST_PORTS = st.sampled_from(["", "0", "8000", "8001", "8002", "8000-8002", "8001-8003", "32768", "32770"])
REQUESTS = st.dictionaries(
    PORTS, st.lists(st.builds(PortBinding, HOST_IPS, HOST_PORTS), max_size=3).map(tuple), max_size=4
)
TAKEN = st.dictionaries(
    st.builds(LocalAddress, st.sampled_from(ADDRESSES), st.integers(7999, 8004)),
    st.sampled_from(["one", "two"]),
    max_size=3,
)
ACTUALS = st.dictionaries(
    PORTS,
    st.lists(
        st.builds(
            PortBinding,
            st.sampled_from(["127.0.0.1", "0.0.0.0", "::"]),
            st.sampled_from(["", "49153", "49154"]),
        ),
        max_size=2,
    ).map(tuple),
    max_size=4,
)


def apply(plan: tuple[Action, ...], opened: Mapping[Slot, Opened]) -> dict[Slot, Opened]:
    """What is open after C{plan}, on a machine where nothing else is."""
    result = dict(opened)
    for action in plan:
        if isinstance(action, Close):
            del result[action.slot]
        elif isinstance(action, Point):
            result[action.slot] = evolve(result[action.slot], target=action.target)
        else:
            assert action.slot not in result
            number = next(iter(action.numbers))
            result[action.slot] = Opened(number, tuple(host.address for host in action.hosts))
    return result


class PropertyTests(SynchronousTestCase):
    """What holds for every wish."""

    @given(REQUESTS, REQUESTS, TAKEN, ACTUALS)
    def test_plans(
        self, before: PortMap, requested: PortMap, taken: Mapping[LocalAddress, str], actual: PortMap
    ) -> None:
        """
        A plan that was carried out needs nothing more; everything wanted is open within its span; nothing is
        open twice or on what another container has; every port left leads somewhere.
        """
        try:
            opened = apply(reserve(before, taken=taken), {})
            opened = apply(reserve(requested, opened, taken=taken), opened)
        except Collision:
            return
        self.assertEqual(reserve(requested, opened, taken=taken), ())
        for key in slots_of(requested):
            self.assertIn(opened[key].number, span_of(key.binding.host_port, DYNAMIC))
        addresses = [LocalAddress(host, now.number) for now in opened.values() for host in now.hosts]
        for index, address in enumerate(addresses):
            for other in (*taken, *addresses[:index]):
                self.assertFalse(address.overlaps(other))
        opened = apply(plan_publish(actual, opened), opened)
        self.assertEqual(plan_publish(actual, opened), ())
        for key, now in opened.items():
            self.assertEqual(now.target, target_of(actual[key.port]))
            self.assertIsNotNone(now.target)

    @given(REQUESTS)
    def test_number_kept(self, requested: PortMap) -> None:
        """Closed and opened again with its numbers remembered, a container gets the same ones."""
        try:
            opened = apply(reserve(requested), {})
        except Collision:
            return
        remembered = {key: now.number for key, now in opened.items()}
        again = apply(reserve(requested, remembered=remembered, start=DYNAMIC[4]), {})
        self.assertEqual(
            {key: now.number for key, now in again.items()}, {key: now.number for key, now in opened.items()}
        )
