"""`python -m vaelab` is `vaelab`."""

from vaelab.cli.main import main

main()
