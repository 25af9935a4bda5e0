"""
What Docker's HTTP messages mean: method, path and body to values, and back. No Twisted here.
"""

from __future__ import annotations

from remotedocker.docker._answers import (
    translate_create_answer,
    translate_error,
    translate_image,
    translate_image_list,
    translate_inspect,
    translate_list,
    translate_system_df,
    translate_volume,
    translate_volume_list,
)
from remotedocker.docker._bindpaths import is_absolute_source, to_laptop_path
from remotedocker.docker._commit import rewrite_commit
from remotedocker.docker._create import CreateRequest
from remotedocker.docker._errorbody import error_body
from remotedocker.docker._eventlabels import EventLabels
from remotedocker.docker._eventstream import EventStream
from remotedocker.docker._filters import ListFilter, split_filters, split_label_filter
from remotedocker.docker._inspected import (
    bind_sources,
    inspected_labels,
    is_removed_at_end,
    is_restarted,
    is_running,
    mounted_volumes,
)
from remotedocker.docker._labels import AGENT_LABEL, decode_labels, encode_labels, is_own_label
from remotedocker.docker._model import (
    BindMount,
    ContainerEvent,
    ContainerPort,
    CreatePlan,
    CreateSpec,
    MountForm,
    OwnedContainer,
    PlacedMount,
    PortBinding,
    PortMap,
    ServicePlan,
    ServiceSpec,
)
from remotedocker.docker._mounts import mounted_together
from remotedocker.docker._ports import parse_port, published_ports
from remotedocker.docker._routes import Endpoint, Route, route, with_query
from remotedocker.docker._serviceanswers import (
    translate_service,
    translate_service_list,
    translate_task,
    translate_task_list,
)
from remotedocker.docker._services import (
    ServiceRequest,
    allocated_ports,
    is_service_key,
    service_key,
    service_sources,
    service_spec,
)
from remotedocker.docker._translating import AnswerView
from remotedocker.docker._volumes import VolumeRequest, volume_mount

__all__ = [
    "AGENT_LABEL",
    "AnswerView",
    "BindMount",
    "ContainerEvent",
    "ContainerPort",
    "CreatePlan",
    "CreateRequest",
    "CreateSpec",
    "Endpoint",
    "EventLabels",
    "EventStream",
    "ListFilter",
    "MountForm",
    "OwnedContainer",
    "PlacedMount",
    "PortBinding",
    "PortMap",
    "Route",
    "ServicePlan",
    "ServiceRequest",
    "ServiceSpec",
    "VolumeRequest",
    "allocated_ports",
    "bind_sources",
    "decode_labels",
    "encode_labels",
    "error_body",
    "inspected_labels",
    "is_absolute_source",
    "is_own_label",
    "is_removed_at_end",
    "is_restarted",
    "is_running",
    "is_service_key",
    "mounted_together",
    "mounted_volumes",
    "parse_port",
    "published_ports",
    "rewrite_commit",
    "route",
    "service_key",
    "service_sources",
    "service_spec",
    "split_filters",
    "split_label_filter",
    "to_laptop_path",
    "translate_create_answer",
    "translate_error",
    "translate_image",
    "translate_image_list",
    "translate_inspect",
    "translate_list",
    "translate_service",
    "translate_service_list",
    "translate_system_df",
    "translate_task",
    "translate_task_list",
    "translate_volume",
    "translate_volume_list",
    "volume_mount",
    "with_query",
]
