"""The name of the command that people type in a checkout; all else is in the package."""

import sys

from voiceagent_runtime.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
