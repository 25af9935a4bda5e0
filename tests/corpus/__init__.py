"""
What a docker CLI and dockerd 20.10 say to each other, byte for byte, as data for tests.
"""

from __future__ import annotations

from tests.corpus._transcripts import TRANSCRIPTS, Transcript

__all__ = ["TRANSCRIPTS", "Transcript"]
