"""An agent class of your own, named by `VOICEAGENT_AGENT=module:Class`."""

from __future__ import annotations

import importlib
import traceback

from .agent import VoiceAgent
from .errors import WorkerError, configuration_error


def load(name: str) -> type[VoiceAgent]:
    """Return the class that agents are made of; raise WorkerError that says what is wrong with it."""
    if not name:
        return VoiceAgent
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise _wrong(name, "it must be a module and a class, such as harbour:HarbourAgent")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:  # whatever a module of somebody else does when it is imported
        last = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error}"[:300]
        raise _wrong(name, f"the module cannot be imported ({said}, {last.filename}:{last.lineno})") from None
    if found is None:
        raise _wrong(name, f"the module has no {attribute}")
    if not (isinstance(found, type) and issubclass(found, VoiceAgent)):
        raise _wrong(name, "it must be a subclass of voiceagent_runtime.agent.VoiceAgent")
    return found


def module_of(name: str) -> list[str]:
    """Return the module of the class, if one is named."""
    return [name.partition(":")[0]] if name else []


def _wrong(name: str, problem: str) -> WorkerError:
    return configuration_error(f"VOICEAGENT_AGENT: {name!r}: {problem}. Correct the variable or the class.")
