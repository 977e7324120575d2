"""A picture process that does with a picture what its first bytes say: for tests of what outlives it."""

import os
import signal
import sys
import time

from bridge import picture_process

if __name__ == "__main__":
    order = sys.stdin.buffer.peek()[:5]
    if order == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if order == b"hangs":
        time.sleep(60)
    if order == b"exits":
        sys.exit(1)
    picture_process.main(float(sys.argv[1]))
