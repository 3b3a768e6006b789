"""What the commands import: done once for all processes that are forked afterwards."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
from bloodcell import count, evaluate, explain, export, predict, report, search, train  # noqa: F401
from bloodcell.prediction import answering, explaining, handing_on, predictor  # noqa: F401
from bloodcell.studies.paper import run as report_run  # noqa: F401
from bloodcell.training import artefacts, assemble, checks, measure, printout  # noqa: F401
