"""What is known of the containers that concern us."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker._known import Container, KnownContainers

FIRST, SECOND = "ab" * 32, "ab" * 8 + "cd" * 24


class KnownContainersTests(SynchronousTestCase):
    """L{KnownContainers.find}."""

    def setUp(self) -> None:
        """Two containers whose ids begin alike."""
        self.known = KnownContainers()
        for container_id, name in ((FIRST, "web"), (SECOND, "shop")):
            self.known[container_id] = Container(container_id, name, None)

    def found(self, reference: str) -> str | None:
        """@return: the id of what C{reference} means."""
        container = self.known.find(reference)
        return None if container is None else container.container_id

    def test_certain(self) -> None:
        """An id, a name and enough of an id mean one container."""
        for reference in (FIRST, "web", "/web", FIRST[:20]):
            self.assertEqual(self.found(reference), FIRST, reference)

    def test_uncertain(self) -> None:
        """What may mean another container, or none, means none."""
        for reference in ("", "/", FIRST[:11], FIRST[:12], "ef" * 32, "others"):
            self.assertIsNone(self.found(reference), reference)

    def test_same_name(self) -> None:
        """Of two that had a name it is the later one's."""
        self.known[SECOND].name = "web"
        self.assertEqual(self.found("web"), SECOND)
