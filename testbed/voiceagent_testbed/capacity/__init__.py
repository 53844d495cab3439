"""How many calls one worker holds, measured on the user's own cluster: a temporary copy of a VoiceAgent is loaded step
by step, and what its workers should be given is worked out from that."""
