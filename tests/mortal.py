"""A task of VAEs some of which fail or kill their worker as they are judged: by their seed. For tests of crews."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from vaelab.engine import training
from vaelab.vae.system import VAESystem
from vaelab.vae.task import VAETask

RAISES, DIES, DIES_ONCE = 1001, 1002, 1003
MARK = "VAELAB_TEST_MARK"  # the file that says that the one that dies once has died


class MortalSystem(VAESystem):
    def judge(self, stack: training.Stack[Any, Any, Any], is_final: bool) -> list[dict[str, Any]]:
        seeds = [spec.seed for spec in stack.specs]
        mark = Path(os.environ.get(MARK, os.devnull))
        if RAISES in seeds:
            raise ArithmeticError("a seed that raises")
        if DIES in seeds or (DIES_ONCE in seeds and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().judge(stack, is_final)


class MortalTask(VAETask):
    def system(self, yardstick: str) -> MortalSystem:
        return MortalSystem(yardstick)


TASK = MortalTask()
