"""White blood cells under the microscope: training, honest evaluation, reproduction."""

__version__ = "0.2.0.dev0"
