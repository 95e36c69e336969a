"""Start the watch from its own folder: an isolated Python looks nowhere else by itself."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpu_host.watch import main

main(sys.argv[1:])
