"""`python -m vaelab` runs `vaelab`."""

from vaelab.cli.main import main

main()
