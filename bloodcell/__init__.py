"""White blood cells under the microscope: training, honest evaluation, reproduction."""

__version__ = "0.1.0"
