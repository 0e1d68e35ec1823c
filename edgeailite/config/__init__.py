"""One frozen dataclass per verb: every option, its type, its default and (as docstring below it) its help.

`edgeailite.cli` turns these into command lines. No torch here; `--help` must be instant.
"""

from __future__ import annotations

from edgeailite.config.checks import ACCELERATORS, Amp, Device, Weights, check
from edgeailite.config.cost import (
    DEFAULT_SIZE,
    BenchConfig,
    ChooseConfig,
    ComplexityConfig,
    DevicesFitConfig,
    DevicesListConfig,
    ModelsConfig,
    Size,
)
from edgeailite.config.data import (
    DataCacheConfig,
    DataCheckConfig,
    DataGetConfig,
    DataShowConfig,
    DataSplitConfig,
    DataStatsConfig,
)
from edgeailite.config.foreign import CardConfig, ImportConfig
from edgeailite.config.proving import CompareConfig, ExportConfig, ReportConfig, ValidateConfig, VerifyConfig
from edgeailite.config.quantizing import AnalyzeConfig, CalibrateConfig, Observer, QuantizeConfig, SchemeName
from edgeailite.config.start import DemoConfig, DoctorConfig, PresetsConfig
from edgeailite.config.training import MODEL, Loop, Objective, TrainConfig
from edgeailite.config.using import HOST_NAME, InferConfig, ServeConfig

__all__ = [
    "ACCELERATORS", "DEFAULT_SIZE", "HOST_NAME", "MODEL", "check",
    "Amp", "Device", "Loop", "Objective", "Observer", "SchemeName", "Size", "Weights",
    "DemoConfig", "PresetsConfig", "DoctorConfig",
    "DataGetConfig", "DataCheckConfig", "DataSplitConfig", "DataStatsConfig", "DataShowConfig", "DataCacheConfig",
    "CardConfig", "ImportConfig",
    "ModelsConfig", "ChooseConfig", "ComplexityConfig", "BenchConfig", "DevicesListConfig", "DevicesFitConfig",
    "TrainConfig", "CalibrateConfig", "AnalyzeConfig", "QuantizeConfig",
    "ValidateConfig", "CompareConfig", "ExportConfig", "VerifyConfig", "ReportConfig",
    "InferConfig", "ServeConfig",
]  # fmt: skip
