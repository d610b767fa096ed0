"""The YAML file becomes one typed settings tree; units are converted here and nowhere else."""

from controlplane.config.load import load_settings, parse_settings
from controlplane.config.settings import ApiSettings, Settings
from controlplane.config.tree import schema

__all__ = ["ApiSettings", "Settings", "load_settings", "parse_settings", "schema"]
