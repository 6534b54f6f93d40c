"""The service's own command line, but SIGUSR1 blocks its event loop: `python blockable.py SECONDS run`.

As a long garbage collection or a machine that swaps would: heartbeats stop, threads and connections stay.
"""

import signal
import sys
import time

from consumer.cli import app

if __name__ == "__main__":
    _seconds = float(sys.argv.pop(1))
    signal.signal(signal.SIGUSR1, lambda *_: time.sleep(_seconds))
    app()
