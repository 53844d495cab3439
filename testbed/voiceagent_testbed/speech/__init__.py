"""Speech without a vendor: a natural voice and a recogniser whose models come in their wheels."""

from .ears import Ears, Word, transcribe
from .pool import EarPool, Utterance
from .resample import resample
from .voice import Voice

__all__ = ["EarPool", "Ears", "Utterance", "Voice", "Word", "resample", "transcribe"]
