"""edgeailite: from a labelled data set to an integer ONNX file proven to give the validated answers.

Importing the package imports nothing heavy; use `from edgeailite.models import create_model` and friends.
"""

__version__ = "0.1.0"
