"""The only place that speaks MongoDB; one file for each thing that is stored."""
