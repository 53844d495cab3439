"""One voice agent worker: it registers with a LiveKit server, answers the calls that the server sends, and
tells the truth about itself on port 8081. Read `server.py` first: it puts all the parts together."""
