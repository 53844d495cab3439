"""The VoiceAgent API: Python types are its source; the CRD and the reference page are generated from them."""
