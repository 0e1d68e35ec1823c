"""edgeailite: from a labelled data set to an integer ONNX file proven to give the validated answers.

Importing the package imports nothing heavy; use `from edgeailite.models import create_model` and friends.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime sends usage events from 1.29 on unless told before

__version__ = "0.1.0"
