"""What comes out: tables and figures of a run. Takes arrays and tables, knows neither data nor model."""
