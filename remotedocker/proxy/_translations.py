# -*- test-case-name: tests.proxy.test_rewriters -*-
"""
Treatments that change what is shown: requests pass, but for filters, and answers are translated.
"""

from __future__ import annotations

from collections.abc import Callable

from remotedocker.docker import (
    AnswerView,
    EventLabels,
    ListFilter,
    split_filters,
    split_label_filter,
    translate_image,
    translate_image_list,
    translate_inspect,
    translate_list,
    translate_service,
    translate_service_list,
    translate_system_df,
    translate_task,
    translate_task_list,
    translate_volume,
    translate_volume_list,
    with_query,
)
from remotedocker.http import ResponseHead
from remotedocker.proxy._rewriting import BodyFilter, Forward, Reply, TranslatedErrors

__all__ = [
    "EventsRewriter",
    "ImageListRewriter",
    "ImageRewriter",
    "InspectRewriter",
    "ListRewriter",
    "ServiceInspectRewriter",
    "ServiceListRewriter",
    "SystemDfRewriter",
    "TaskListRewriter",
    "TaskRewriter",
    "VolumeListRewriter",
    "VolumeRewriter",
]


class Translated(TranslatedErrors):
    """An answer that shows paths or ports is shown as the user typed them."""

    translation: Callable[[bytes, AnswerView], bytes]

    def wants_answer(self, head: ResponseHead) -> bool:
        """Answers with a body that is understood."""
        return head.status in (200, 201) or head.status >= 400

    def success(self, head: ResponseHead, body: bytes) -> bytes:
        """See L{TranslatedErrors.success}."""
        return type(self).translation(body, self.view)


class InspectRewriter(Translated):
    """C{GET /containers/{id}/json}."""

    translation = staticmethod(translate_inspect)


class SystemDfRewriter(Translated):
    """C{GET /system/df}."""

    translation = staticmethod(translate_system_df)


class ImageRewriter(Translated):
    """C{GET /images/{name}/json}."""

    translation = staticmethod(translate_image)


class EventsRewriter(TranslatedErrors):
    """C{GET /events}: our labels are taken out of the stream as it passes."""

    def body_filter(self, head: ResponseHead) -> BodyFilter | None:
        """See L{Rewriter.body_filter}."""
        return EventLabels(self.view.owned) if head.status == 200 else None


class VolumeRewriter(Translated):
    """C{GET /volumes/{name}}."""

    translation = staticmethod(translate_volume)


class VolumeListRewriter(Translated):
    """C{GET /volumes}."""

    translation = staticmethod(translate_volume_list)


class ServiceInspectRewriter(Translated):
    """C{GET /services/{id}}."""

    translation = staticmethod(translate_service)


class TaskRewriter(Translated):
    """C{GET /tasks/{id}}."""

    translation = staticmethod(translate_task)


class TaskListRewriter(Translated):
    """C{GET /tasks}."""

    translation = staticmethod(translate_task_list)


class ListRewriter(TranslatedErrors):
    """C{GET /containers/json}: filters by what only we know are applied here."""

    collects = True
    split = staticmethod(split_filters)
    translation = staticmethod(translate_list)

    _only: ListFilter | None = None

    def forward(self, value: object) -> Forward | Reply:
        """See L{Rewriter.forward}."""
        query, self._only = type(self).split(self.route.query)
        if self._only is None:
            return Forward()
        return Forward(target=with_query(self.head.target, query))

    def wants_answer(self, head: ResponseHead) -> bool:
        """The list, and errors."""
        return head.status == 200 or head.status >= 400

    def success(self, head: ResponseHead, body: bytes) -> bytes:
        """See L{TranslatedErrors.success}."""
        return type(self).translation(body, self.view, self._only)


class ImageListRewriter(ListRewriter):
    """C{GET /images/json}: the same, for labels."""

    split = staticmethod(split_label_filter)
    translation = staticmethod(translate_image_list)


class ServiceListRewriter(ListRewriter):
    """C{GET /services}: the same, for labels."""

    split = staticmethod(split_label_filter)
    translation = staticmethod(translate_service_list)
