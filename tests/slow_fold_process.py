"""A folding process that is slow to start, as on a machine with much else to do."""

import sys
import time

from boardlog import work_process

START_SECONDS = 3.0

if __name__ == "__main__":
    time.sleep(START_SECONDS)
    work_process.main(int(sys.argv[1]))
