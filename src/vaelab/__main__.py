"""`python -m vaelab` is `vaelab`."""

from vaelab.cli import main

main()
