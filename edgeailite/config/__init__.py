"""One frozen dataclass per verb: every option, its type, its default and (as docstring below it) its help.

tyro turns these into command lines. No torch here; `--help` must be instant.
"""

from __future__ import annotations

from edgeailite.config.analysis import AnalyzeConfig
from edgeailite.config.benching import BenchConfig, ChooseConfig, DevicesFitConfig, DevicesListConfig
from edgeailite.config.cache import DataCacheConfig
from edgeailite.config.checks import Amp, Device, check
from edgeailite.config.comparing import CompareConfig
from edgeailite.config.cost import DEFAULT_SIZE, ComplexityConfig, Size
from edgeailite.config.data import DataCheckConfig, DataShowConfig, DataStatsConfig
from edgeailite.config.demonstration import DemoConfig
from edgeailite.config.deployment import ExportConfig, ValidateConfig, VerifyConfig
from edgeailite.config.get import DataGetConfig
from edgeailite.config.inferring import InferConfig
from edgeailite.config.inspection import DoctorConfig, ModelsConfig, PresetsConfig, ReportConfig
from edgeailite.config.quantizing import CalibrateConfig, QuantizeConfig
from edgeailite.config.serving import ServeConfig
from edgeailite.config.training import MODEL, TrainConfig

__all__ = [
    "DEFAULT_SIZE", "MODEL", "Amp", "Device", "Size", "check",
    "TrainConfig", "CalibrateConfig", "AnalyzeConfig", "QuantizeConfig", "DemoConfig",
    "ValidateConfig", "CompareConfig", "ExportConfig", "VerifyConfig", "InferConfig", "ServeConfig",
    "DataGetConfig", "DataCheckConfig", "DataStatsConfig", "DataShowConfig", "DataCacheConfig",
    "BenchConfig", "ChooseConfig", "DevicesListConfig", "DevicesFitConfig",
    "ReportConfig", "ModelsConfig", "ComplexityConfig", "PresetsConfig", "DoctorConfig",
]  # fmt: skip
