"""What the paper states, as numbers: its confusion matrix, its curves, its claim.

"Blood Cell Image Classification Using Deep Sequential Model", The Bioscan 19(2) S.I(1), 2024, 895-897.
"""

import numpy as np

from bloodcell.evidence.figures import Stated

CLAIM = 0.997
CLASSES = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")
# Four sentences of the paper: 248 eosinophils right and 2 taken for neutrophils; all 250 lymphocytes; all 250
# monocytes; 243 neutrophils right and 7 taken for eosinophils.
CONFUSION = np.array([[248, 0, 0, 2], [0, 250, 0, 0], [0, 0, 250, 0], [7, 0, 0, 243]])
# "0.9 at the start, under 0.1 by epoch 30, about 0.02 at 50"; "0.9 by epoch 20".
LOSS = (Stated(1, 0.9), Stated(30, 0.1, bound=True), Stated(50, 0.02))
ACCURACY = (Stated(20, 0.9),)
