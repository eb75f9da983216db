"""Runs a command to its end and prints what it took: seconds by the wall, CPU seconds, and the most kilobytes resident."""

import os
import subprocess
import sys
import time

begun = time.monotonic()
process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
told = process.stderr.read()
_, status, usage = os.wait4(process.pid, 0)
wall = time.monotonic() - begun
if status:
    sys.exit(f"{sys.argv[1]}: {told.decode(errors='replace')[-500:]}")
print(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
