"""The operator: turns VoiceAgent resources into LiveKit worker Deployments.

Kopf's watches only put keys on a queue (`handlers`). For each key the reconciler reads what is there
(`cluster`, `workers`), decides (`plan`, `status`, `resources`: pure functions) and acts through server-side
apply. It holds no state of its own, so it may stop at any moment, and it writes neither the VoiceAgent's spec
nor its metadata. Workers carry nothing of the operator's version: upgrading the operator disturbs no call.
"""

from importlib.metadata import version

__version__ = version("voiceagent")
