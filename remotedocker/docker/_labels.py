# -*- test-case-name: tests.docker.test_labels -*-
"""
The labels in which a container carries whose it is and what its user typed.

They outlive the agent, the laptop's restart and the daemon's, and the daemon can filter by them. They are
fixed at create, and an image made from the container inherits them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from remotedocker.docker._model import ContainerPort, CreateSpec, MountForm, OwnedContainer, PortBinding
from remotedocker.docker._ports import parse_port

__all__ = [
    "AGENT_LABEL",
    "LABELS",
    "LABEL_PREFIX",
    "blank_labels",
    "decode_labels",
    "encode_labels",
    "is_own_label",
]

LABEL_PREFIX = "io.remotedocker."
AGENT_LABEL = LABEL_PREFIX + "agent"
"""The agent's id: C{filters={"label": ["io.remotedocker.agent=<id>"]}} lists its containers."""
_NONCE = LABEL_PREFIX + "nonce"
_REQUEST = LABEL_PREFIX + "request"

LABELS = (AGENT_LABEL, _NONCE, _REQUEST)
"""Every label that is set; all are set each time, lest one be inherited from an image."""


def is_own_label(key: str) -> bool:
    """Whether a label is one of ours, to be hidden from users."""
    return key.startswith(LABEL_PREFIX)


def blank_labels() -> dict[str, str]:
    """Labels that say nothing: what an image gets that is made from one of our containers."""
    return dict.fromkeys(LABELS, "")


def encode_labels(
    agent_id: str, nonce: str, spec: CreateSpec, forwarded: Iterable[ContainerPort]
) -> dict[str, str]:
    """
    @param forwarded: as in L{CreatePlan.forwarded<remotedocker.docker.CreatePlan>}.
    @return: the labels from which L{decode_labels} makes an L{OwnedContainer}.
    """
    forwarded = tuple(forwarded)
    request: dict[str, object] = {
        "ports": {
            str(port): [[each.host_ip, each.host_port] for each in spec.ports[port]]
            for port in forwarded
            if port in spec.ports
        },
        "forwarded": [str(port) for port in forwarded],
        "exposed": [str(port) for port in forwarded if port in spec.ports and port not in spec.exposed],
        "publish_all": spec.publish_all,
        "binds": None if spec.binds is None else list(spec.binds),
        "mounts": {mount.target: mount.source for mount in spec.mounts if mount.form is not MountForm.BIND},
    }
    text = json.dumps({key: value for key, value in request.items() if value}, separators=(",", ":"))
    return {AGENT_LABEL: agent_id, _NONCE: nonce, _REQUEST: text}


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"no list of strings: {value!r}")
    return tuple(value)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"no object: {value!r}")
    return value


def _port(key: str) -> ContainerPort:
    port = parse_port(key)
    if port is None:
        raise ValueError(f"no port: {key!r}")
    return port


def _binding(value: Any) -> PortBinding:
    host_ip, host_port = _strings(value)
    return PortBinding(host_ip, host_port)


def decode_labels(labels: Mapping[str, str]) -> OwnedContainer | None:
    """
    @param labels: all labels of a container.
    @return: None if ours are not there, or are damaged.
    """
    agent_id, nonce, text = (labels.get(key) for key in LABELS)
    if not agent_id or not nonce or text is None:
        return None
    try:
        request = _mapping(json.loads(text))
        return OwnedContainer(
            agent_id=agent_id,
            nonce=nonce,
            ports={
                _port(key): tuple(_binding(each) for each in bindings)
                for key, bindings in _mapping(request.get("ports", {})).items()
            },
            publish_all=request.get("publish_all", False) is True,
            binds=_strings(request["binds"]) if "binds" in request else None,
            mounts=dict(
                zip(
                    _mapping(request.get("mounts", {})),
                    _strings(list(_mapping(request.get("mounts", {})).values())),
                    strict=True,
                )
            ),
            exposed=tuple(map(_port, _strings(request.get("exposed", [])))),
            forwarded=tuple(map(_port, _strings(request.get("forwarded", [])))),
        )
    except (ValueError, TypeError, RecursionError):
        return None
