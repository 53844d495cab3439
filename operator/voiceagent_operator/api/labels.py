"""Labels and annotations: their grammar, and the keys that belong to the operator."""

from __future__ import annotations

import json
import re
from typing import Annotated

from pydantic import Field

from .fields import Check

_NAME = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_KEY = rf"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?{_NAME}$"
_LONGEST_KEY = 317
OWN_PREFIX = "voiceagent.dev/"
OWN_LABELS = (
    "app.kubernetes.io/component",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/name",
    "pod-template-hash",
)
# What decides which pod goes first, what the node must not do, and what would loosen the sandbox.
OWN_ANNOTATIONS = (
    "cluster-autoscaler.kubernetes.io/safe-to-evict",
    "controller.kubernetes.io/pod-deletion-cost",
    "karpenter.sh/do-not-disrupt",
    "kubectl.kubernetes.io/default-container",
)
_SANDBOX_PREFIX = "container.apparmor.security.beta.kubernetes.io/"


def _are_keys(labels: dict[str, str]) -> bool:
    return all(len(key) <= _LONGEST_KEY and re.match(_KEY, key) for key in labels)


_KEYS = Check(
    f"self.all(key, key.size() <= {_LONGEST_KEY} && key.matches('{_KEY}'))",
    "each key must be a name such as team or example.com/team",
    _are_keys,
)

LabelKey = Annotated[str, Field(min_length=1, max_length=_LONGEST_KEY, pattern=_KEY)]
LabelValue = Annotated[str, Field(max_length=63, pattern=rf"^({_NAME})?$")]
LabelMap = Annotated[dict[str, LabelValue], Field(max_length=20), _KEYS]
PodLabels = Annotated[
    dict[str, LabelValue],
    Field(max_length=20),
    _KEYS,
    Check(
        f"self.all(key, !key.startsWith('{OWN_PREFIX}') && !(key in {json.dumps(OWN_LABELS)}))",
        f"must not set the operator's own labels {OWN_PREFIX}* and {', '.join(OWN_LABELS)}",
        lambda labels: not any(key.startswith(OWN_PREFIX) or key in OWN_LABELS for key in labels),
    ),
]
PodAnnotations = Annotated[
    dict[str, Annotated[str, Field(max_length=4096)]],
    Field(max_length=20),
    _KEYS,
    Check(
        f"self.all(key, !key.startsWith('{OWN_PREFIX}') && !key.startsWith('{_SANDBOX_PREFIX}') "
        f"&& !(key in {json.dumps(OWN_ANNOTATIONS)}))",
        f"must not set the operator's own annotations {OWN_PREFIX}* and {', '.join(OWN_ANNOTATIONS)}, "
        f"nor {_SANDBOX_PREFIX}*",
        lambda annotations: (
            not any(key.startswith((OWN_PREFIX, _SANDBOX_PREFIX)) or key in OWN_ANNOTATIONS for key in annotations)
        ),
    ),
]
