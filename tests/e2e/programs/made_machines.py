"""The checkout's own program, where the tests' target `made` is installed; takes its place for as long as a test wants it."""

import sys
from pathlib import Path

sys.path.append(str(Path.cwd() / "tests" / "fixtures" / "fake_target"))

from components.program import main  # what targets there are is asked as the settings are imported

main()
