# -*- test-case-name: tests.docker.test_commit -*-
"""
Tests for L{remotedocker.docker._commit}.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import CreateSpec, decode_labels, encode_labels, rewrite_commit
from remotedocker.errors import BadRequest


class CommitTests(SynchronousTestCase):
    """Images made from our containers."""

    def test_image_is_not_ours(self) -> None:
        """The labels that an image gets from container and request together say nothing of us."""
        container = {"a": "b", **encode_labels("id", "n", CreateSpec("x"), ())}
        for body in (b"", b"  ", b"{}", b'{"Labels":null}', b'{"labels":{"io.remotedocker.agent":"x"}}'):
            requested = json.loads(rewrite_commit(body))["Labels"]
            self.assertIsNone(decode_labels({**container, **requested}))

    def test_the_rest_stays(self) -> None:
        """What the request asks for stays as it is."""
        rewritten = json.loads(rewrite_commit(b'{"Cmd":["x"],"Labels":{"c":"d"},"Cpu":1.0}'))
        self.assertEqual((rewritten["Cmd"], rewritten["Cpu"], rewritten["Labels"]["c"]), (["x"], 1.0, "d"))

    def test_labels_that_are_no_map(self) -> None:
        """Such labels stay, for the daemon to refuse."""
        self.assertEqual(rewrite_commit(b'{"Labels":[1]}'), b'{"Labels":[1]}\n')

    def test_refused(self) -> None:
        """A body that is no JSON object is refused."""
        self.assertRaises(BadRequest, rewrite_commit, b"[]")
