"""After many mixed requests and broken links, nothing is left of them."""

from __future__ import annotations

import os

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from remotedocker.ssh import _links
from tests.soak import Soak
from tests.support.sshd import sshd_available

_NUMBER = int(os.environ.get("REMOTEDOCKER_SOAK", "1200"))
#: Memory, in KiB, that may be more after any number of requests: allocators keep some.
_MORE_MEMORY = 12 << 10


class SoakTests(TestCase):
    """A whole agent, a real sshd, and a daemon that costs nothing."""

    timeout = 120 + _NUMBER

    async def test_nothing_is_left(self) -> None:
        """
        Every request is whole or an error, and channels, descriptors and memory are in the end what they
        were.
        """
        self.assertTrue(sshd_available())
        soak = Soak(reactor, _NUMBER)
        await soak.run()
        self.assertEqual(sum(soak.outcomes.values()), _NUMBER)
        good = sum(count for kind, count in soak.outcomes.items() if ":" not in kind)
        self.assertGreater(good, _NUMBER * 0.8)
        before, after = soak.before, soak.after
        assert before is not None and after is not None
        self.assertEqual(after.descriptors, before.descriptors, f"{before}\n{after}")
        self.assertEqual(after.sessions, before.sessions)
        # Of the channels that are opened ahead, some may not be replaced yet.
        more = after.conversations - before.conversations
        self.assertLess(abs(more), _links._WARM_CHANNELS // 2, f"{before}\n{after}")
        self.assertLess(after.memory, before.memory + _MORE_MEMORY, f"{before}\n{after}")
