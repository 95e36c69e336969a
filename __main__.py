"""The program: read the stack's settings, build one platform."""

from components.program import main

main()
