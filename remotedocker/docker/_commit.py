# -*- test-case-name: tests.docker.test_commit -*-
"""
The body of C{POST /commit}: the image inherits the container's labels, ours too, unless the request has them.
"""

from __future__ import annotations

from remotedocker.docker._json import JSONObject, read_object, write
from remotedocker.docker._labels import blank_labels, is_own_label

__all__ = ["rewrite_commit"]


def rewrite_commit(body: bytes) -> bytes:
    """
    @param body: a container's configuration, or nothing.
    @return: the same with labels that say nothing in the place of ours. The daemon takes a label of the
        request rather than the container's, and cannot leave one out.
    @raise BadRequest: the body is no JSON object.
    """
    document = read_object(body if body.strip() else b"{}")
    if document.field("Labels") is None:
        document.set_field("Labels", JSONObject())
    labels = document.child("Labels")
    kept = [item for item in labels.entries().items() if not is_own_label(item[0])]
    labels.items = [*kept, *blank_labels().items()]
    return write(document) + b"\n"
