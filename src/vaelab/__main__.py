"""`python -m vaelab` runs `vaelab`."""

import os
import sys

# Python looks for every module in the working directory first, where `random.py` may be anything.
if not sys.flags.safe_path and sys.path[0] != os.path.dirname(os.path.dirname(os.path.abspath(__file__))):
    del sys.path[0]

from vaelab.cli.main import main

main()
