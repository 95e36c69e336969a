"""The plugin's entry point: `python provider ENGINE_ADDRESS`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts this folder itself first on the path when it runs it, where our `resource` hides the standard library's.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

    from provider import bytecode

    bytecode.keep()

    from provider.server import main

    main(sys.argv[1:])
