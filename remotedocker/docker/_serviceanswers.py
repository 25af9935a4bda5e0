# -*- test-case-name: tests.docker.test_serviceanswers -*-
"""
The daemon's answers about a swarm's services and tasks, as a user of a local swarm would see them: sources of
mounts as typed, ports as they are open here, and none of our labels.
"""

from __future__ import annotations

from remotedocker.docker._filters import ListFilter
from remotedocker.docker._json import JSONObject, write
from remotedocker.docker._model import ContainerPort, OwnedContainer
from remotedocker.docker._restore import hide_labels
from remotedocker.docker._services import ingress_port, published_port, renumbered, service_key
from remotedocker.docker._translating import AnswerView, read_answer, translate_array, translate_mounts

__all__ = ["translate_service", "translate_service_list", "translate_task", "translate_task_list"]


def translate_service(body: bytes, view: AnswerView) -> bytes:
    """
    C{GET /services/{id}}.
    """
    document = read_answer(body)
    return write(document) + b"\n" if _translate_service(document, view) else body


def translate_service_list(body: bytes, view: AnswerView, only: ListFilter | None = None) -> bytes:
    """
    C{GET /services}.

    @param only: what of the translated list is kept.
    """
    return translate_array(body, lambda entry: _translate_service(entry, view), only)


def translate_task(body: bytes, view: AnswerView) -> bytes:
    """
    C{GET /tasks/{id}}.
    """
    document = read_answer(body)
    return write(document) + b"\n" if _translate_task(document, view) else body


def translate_task_list(body: bytes, view: AnswerView) -> bytes:
    """
    C{GET /tasks}.
    """
    return translate_array(body, lambda entry: _translate_task(entry, view))


def _owned(parent: JSONObject, view: AnswerView) -> OwnedContainer | None:
    labels = parent.child("Labels").entries()
    return view.owned({key: value for key, value in labels.items() if isinstance(value, str)})


def _translate_service(service: JSONObject, view: AnswerView) -> bool:
    """One service, in place; true if anything of it is ours."""
    specs = (service.child("Spec"), service.child("PreviousSpec"))
    containers = [spec.child("TaskTemplate").child("ContainerSpec") for spec in specs]
    mounts = [mount for each in containers for mount in each.children("Mounts")]
    translated = translate_mounts(mounts, view)
    owned = _owned(specs[0], view)
    if owned is None:
        return translated
    for spec in specs:
        hide_labels(spec)
    for container in containers:
        _hide_task_labels(container)
    local = view.local_ports(service_key(owned.nonce)) or {}
    ports = service.child("Endpoint").elements("Ports")
    ports[:] = renumbered(ports, ingress_port, local)
    return True


def _hide_task_labels(container: JSONObject) -> None:
    """C{Labels} of a C{ContainerSpec}, which the daemon leaves out when there are none."""
    if hide_labels(container) and not container.child("Labels").items:
        container.remove_field("Labels")


def _translate_task(task: JSONObject, view: AnswerView) -> bool:
    """One task, in place; true if anything of it is ours."""
    container = task.child("Spec").child("ContainerSpec")
    translated = translate_mounts(container.children("Mounts"), view)
    owned = _owned(container, view)
    if owned is None:
        return translated
    _hide_task_labels(container)
    status = task.child("Status")
    local = view.local_ports(status.child("ContainerStatus").text("ContainerID"))

    def forwarded(entry: JSONObject) -> ContainerPort | None:
        port = published_port(entry)
        return port if port in owned.forwarded else None

    if local is not None:
        ports = status.child("PortStatus").elements("Ports")
        ports[:] = renumbered(ports, forwarded, local)
    return True
